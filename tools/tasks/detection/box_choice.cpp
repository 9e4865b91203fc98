#include "tools/tasks/detection/box_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "tools/files/text.h"

namespace tapescope::tasks {
namespace {

namespace fs = std::filesystem;
using namespace detection;

constexpr const char* kSides[] = {"left", "top", "right", "bottom", "objectness"};

std::pair<double, double> parsed_point(const std::string& text) {
  const std::vector<std::string> words = comma_separated(text);
  try {
    if (words.size() == 2) return {std::stod(words[0]), std::stod(words[1])};
  } catch (const std::exception&) {
  }
  throw usage_error("--at '{}' is not of the form X,Y, for instance 120,85", text);
}

int class_of(const std::string& option, const std::string& name,
             const std::vector<std::string>& classes) {
  return static_cast<int>(class_index(option, name, classes));
}

int surest_class(const Cells& cells, int y, int x, int without = -1) {
  int best = -1;
  for (int k = 0; k < cells.classes(); ++k) {
    if (k == without) continue;
    if (best < 0 || cells.at(0, y, x, k) > cells.at(0, y, x, best)) best = k;
  }
  return best;
}

// The cell that a point of the picture lies in: of several the surest one.
CellNumber cell_at(const std::string& at, const Cells& cells, const DetectorPicture& picture) {
  const auto [px, py] = parsed_point(at);
  if (!(px >= 0) || !(py >= 0) || !(px < picture.width) || !(py < picture.height)) {
    throw usage_error("--at {} lies outside the picture of {}x{}", at, picture.width,
                      picture.height);
  }
  const Box point = picture.frame.into_input({px, py, 0, 0});
  std::optional<CellNumber> best;
  for (const auto& [y, x] : cells.grid.cells_at(point.x, point.y)) {
    const CellNumber cell{y, x, surest_class(cells, y, x)};
    if (!best || cells.at(0, y, x, cell.category) > cells.at(0, best->y, best->x, best->category)) {
      best = cell;
    }
  }
  if (best) return *best;
  throw usage_error("--at {}: the file does not say where its cells lie; --box N takes one", at);
}

std::vector<CellNumber> from_list(const Cells& cells, const DetectorPicture& picture,
                                  const BoxChoice& options) {
  std::vector<CellNumber> all;
  for (const Seen& s : listed_in(picture, cells, detect_options(options))) {
    all.push_back({s.cell_y, s.cell_x, s.category, -1});
  }
  if (options.box == "all" && !all.empty()) return all;
  std::size_t number = 0;
  if (!options.box.empty() && options.box != "all") {
    const bool digits =
        options.box.size() < 6 && options.box.find_first_not_of("0123456789") == std::string::npos;
    if (!digits) throw usage_error("--box '{}' is neither a number from 0 nor all", options.box);
    number = std::stoul(options.box);
  }
  if (number >= all.size()) {
    throw usage_error(
        "--box {}: there are {} boxes above --threshold {}; `tapescope detect` lists "
        "them, and --at X,Y explains a place without one",
        options.box.empty() ? "0" : options.box, all.size(), options.threshold);
  }
  return {all[number]};
}

}  // namespace

Annotations::Annotations(const std::string& folder, const DetectorConfig& config,
                         bool allow_outside)
    : folder_(folder) {
  if (folder.empty()) return;
  data_ = open_detection_data(
      folder, {.classes = config.classes, .allow_outside = allow_outside, .exif = config.exif});
}

const AnnotatedImage& Annotations::of(const std::string& path) const {
  // The very file, or else one of its name: copies are explained too.
  const AnnotatedImage* namesake = nullptr;
  const fs::path name = fs::path(path).filename();
  for (const auto* split : {&data_.test, &data_.validation, &data_.train}) {
    for (const AnnotatedImage& image : *split) {
      if (fs::path(image.path).filename() != name) continue;
      std::error_code none;
      if (fs::equivalent(image.path, path, none)) return image;
      if (namesake == nullptr) namesake = &image;
    }
  }
  if (namesake != nullptr) return *namesake;
  throw usage_error("--data '{}' has no annotation of a picture called '{}'", folder_,
                    name.string());
}

DetectorPicture picture_for(const DetectorConfig& config, const std::string& path,
                            const Annotations& annotations) {
  const AnnotatedImage* annotation = annotations.given() ? &annotations.of(path) : nullptr;
  const Image original = read_image(path, 3, annotation ? annotation->exif : config.exif);
  const int h = static_cast<int>(config.height), w = static_cast<int>(config.width);
  DetectorPicture result;
  result.height = original.height;
  result.width = original.width;
  result.frame = letterbox_of(original.height, original.width, h, w, config.form);
  result.picture.path = path;
  result.picture.stem = fs::path(path).stem().string();
  result.picture.image = letterboxed(original, result.frame, h, w);
  result.picture.input = Tensor({DType::f32, {1, h, w, 3}});
  normalise(result.picture.image, config.form, result.picture.input.values<float>().data());
  if (annotation != nullptr) {
    result.objects = annotation->objects;
    for (Object& object : result.objects) object.box = result.frame.into_input(object.box);
  }
  return result;
}

Preprocess preprocess_of(const DetectorConfig& config) {
  return {Pipeline({ToTensor{}, Normalize{config.form.mean, config.form.std}}),
          {config.height, config.width, 3},
          config.exif};
}

DetectOptions detect_options(const BoxChoice& options) {
  DetectOptions detect;
  detect.threshold = static_cast<float>(options.threshold);
  detect.nms = options.nms;
  return detect;
}

std::vector<Seen> listed_in(const DetectorPicture& picture, const Cells& cells,
                            const DetectOptions& options) {
  std::vector<Seen> all = listed(cells, options);
  std::erase_if(all, [&](const Seen& s) { return !(picture.in_picture(s.box).area() > 0); });
  return all;
}

std::string to_text(const ChosenBox& box, const DetectorPicture& picture, const Grid& grid,
                    const std::vector<std::string>& classes, const DetectOptions& options) {
  const std::string cell = "cell " + grid.name(box.what.y, box.what.x);
  const std::string verdict = to_text(box.verdict, options);
  if (!box.missed) return fmt::format("{}: '{}' {}", cell, box.name, verdict);
  const Missed& m = *box.missed;
  const Box object = picture.in_picture(m.object.box);
  return fmt::format(
      "the '{}' at {:.0f},{:.0f} of {:.0f}x{:.0f} was missed; {} fits it best, with an IoU of "
      "{:.2f}, is surest of '{}' with {:.2g}, and as '{}' {}",
      classes[static_cast<std::size_t>(m.object.category)], object.x, object.y, object.w, object.h,
      cell, m.overlap, classes[static_cast<std::size_t>(m.category)], m.surest, box.name, verdict);
}

namespace {

// Which boxes, and nothing of them yet.
std::vector<ChosenBox> named_boxes(const Cells& cells, const DetectorPicture& picture,
                                   const BoxChoice& options) {
  std::vector<ChosenBox> chosen;
  if (options.missed) {
    for (const Missed& m : missed(cells, picture.objects, detect_options(options))) {
      ChosenBox c;
      c.what = {m.y, m.x, m.object.category, -1};
      c.missed = m;
      c.label = fmt::format("missed-{}", chosen.size());
      chosen.push_back(c);
    }
    return chosen;
  }
  const std::vector<CellNumber> numbers =
      options.at.empty() ? from_list(cells, picture, options)
                         : std::vector<CellNumber>{cell_at(options.at, cells, picture)};
  for (const CellNumber& number : numbers) {
    ChosenBox c;
    c.what = number;
    if (options.box == "all") c.label = fmt::format("box-{}", chosen.size());
    chosen.push_back(c);
  }
  return chosen;
}

// What the box's number is compared with: of the cell that beat it, or of another class.
CellNumber against(const ChosenBox& box, const std::string& name, const Cells& cells,
                   const std::vector<std::string>& classes) {
  CellNumber other = box.what;
  if (name == "peak") {
    other.y = box.verdict.by_y;
    other.x = box.verdict.by_x;
    if (other.y == box.what.y && other.x == box.what.x) {
      throw usage_error("--against peak: cell {} is a peak itself",
                        cells.grid.name(other.y, other.x));
    }
    return other;
  }
  if (box.what.side >= 0) {
    throw usage_error("--against '{}' goes with --side score; a side has --against peak only",
                      name);
  }
  other.category = name == "runner-up"
                       ? surest_class(cells, box.what.y, box.what.x, box.what.category)
                       : class_of("--against", name, classes);
  if (other.category < 0) {
    throw usage_error("--against runner-up: this model has one class only");
  }
  return other;
}

}  // namespace

std::vector<ChosenBox> choose_boxes(const Cells& cells, const DetectorPicture& picture,
                                    const BoxChoice& options, const ExplanationRequest& explanation,
                                    const std::vector<std::string>& classes) {
  const auto side = std::find(std::begin(kSides), std::end(kSides), options.side);
  const bool is_side = side != std::end(kSides);
  if (!is_side && options.side != "score") {
    throw usage_error(
        "--side '{}' is unknown; it is score, left, top, right, bottom or, of a net with that "
        "factor, objectness",
        options.side);
  }
  if (static_cast<int>(!options.box.empty()) + static_cast<int>(!options.at.empty()) +
          static_cast<int>(options.missed) >
      1) {
    throw usage_error("--box, --at and --missed each say what is explained: give one of them");
  }
  std::vector<ChosenBox> chosen = named_boxes(cells, picture, options);
  for (ChosenBox& c : chosen) {
    if (explanation.target != "predicted") {
      c.what.category = class_of("--target", explanation.target, classes);
    }
    const int category = c.what.category;
    c.verdict = verdict_of(cells, c.what.y, c.what.x, category, detect_options(options));
    c.box = c.missed ? c.missed->object.box : cells.box(0, c.what.y, c.what.x);
    c.name = classes[static_cast<std::size_t>(category)];
    if (is_side) {
      c.what.side = static_cast<int>(side - std::begin(kSides));
      c.name +=
          c.what.side == kObjectness ? ", objectness" : fmt::format(", {} side", options.side);
    }
    if (explanation.against.empty()) continue;
    c.against = against(c, explanation.against, cells, classes);
    c.name += fmt::format(" against {}", explanation.against);
  }
  return chosen;
}

}  // namespace tapescope::tasks
