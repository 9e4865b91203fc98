#include "tools/tasks/detection/box_picture_explainer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "tools/explanation/drawing.h"

namespace tapescope::tasks {
namespace {

using nlohmann::ordered_json;
using namespace detection;

const char* fate_name(Fate fate) {
  switch (fate) {
    case Fate::listed:
      return "listed";
    case Fate::unsure:
      return "below the threshold";
    case Fate::beaten:
      return "no peak";
    case Fate::covered:
      return "suppressed";
    case Fate::crowded:
      return "too many";
  }
  return "";
}

// What became of the box, in the list that `detect` gives.
ordered_json verdict_json(const Verdict& v, const Grid& grid) {
  ordered_json json = {{"fate", fate_name(v.fate)}, {"score", v.score}};
  if (v.fate == Fate::beaten || v.fate == Fate::covered) {
    const Grid::Place by = grid.place(v.by_y, v.by_x);
    json["by"] = {{"cell", {by.x, by.y}}, {"score", v.by_score}, {"iou", v.overlap}};
  }
  return json;
}

// The surest listed box of each class that lies on an annotated object of that class: boxes that
// are wrong would be judged by where they should have been.
std::vector<ChosenBox> right_boxes(const Cells& cells, const DetectorPicture& picture,
                                   const BoxChoice& choice,
                                   const std::vector<std::string>& classes) {
  constexpr double kRight = 0.5;
  std::vector<ChosenBox> chosen;
  std::set<int> done;
  for (const Seen& s : listed_in(picture, cells, detect_options(choice))) {
    const bool right = std::any_of(
        picture.objects.begin(), picture.objects.end(),
        [&](const Object& o) { return o.category == s.category && iou(o.box, s.box) >= kRight; });
    if (!right || !done.insert(s.category).second) continue;
    ChosenBox c;
    c.what = {s.cell_y, s.cell_x, s.category, -1};
    c.name = classes[static_cast<std::size_t>(s.category)];
    c.box = s.box;
    chosen.push_back(c);
  }
  return chosen;
}

}  // namespace

ordered_json box_json(const detection::Box& box) { return {box.x, box.y, box.w, box.h}; }

BoxPictureExplainer::BoxPictureExplainer(const BoxNet& model, const ExplainOptions& options,
                                         bool allow_outside)
    : options_(options),
      config_(model.config()),
      grid_(model.grid()),
      preprocess_(preprocess_of(config_)),
      annotations_(options.data, config_, allow_outside),
      judge_(model, options.backend, options.score, options.request.settings.seed) {
  if (options.boxes.missed && options.data.empty()) {
    throw usage_error("--missed needs --data: the folder with the pictures' annotations");
  }
}

void BoxPictureExplainer::look_at(const std::string& path, Choose choose) {
  DetectorPicture picture = picture_for(config_, path, annotations_);
  const Cells cells = judge_.cells().read(picture.picture.input);
  std::vector<ChosenBox> boxes =
      choose == Choose::right
          ? right_boxes(cells, picture, options_.boxes, config_.classes)
          : choose_boxes(cells, picture, options_.boxes, options_.request, config_.classes);
  look_at(std::move(picture), std::move(boxes));
}

void BoxPictureExplainer::look_at(DetectorPicture picture, std::vector<ChosenBox> boxes) {
  seen_ = std::move(picture);
  picture_ = seen_.picture;
  boxes_ = std::move(boxes);
  targets_.clear();
  subjects_.clear();
  for (const ChosenBox& box : boxes_) {
    targets_.push_back(
        {box.name, box.label, config_.classes[static_cast<std::size_t>(box.what.category)]});
    if (options_.score) {
      subjects_.push_back(subject_of(seen_, box, preprocess_, options_.request.settings.seed));
    }
  }
}

std::vector<std::string> BoxPictureExplainer::remarks() const {
  std::vector<std::string> sentences;
  for (const ChosenBox& box : boxes_) {
    sentences.push_back(
        to_text(box, seen_, grid_, config_.classes, detect_options(options_.boxes)));
  }
  if (boxes_.empty()) sentences.emplace_back("nothing was missed");
  return sentences;
}

// Brought into the input's frame.
quality::Mask BoxPictureExplainer::read_mask(const std::string& path) const {
  const Image mask = read_image(path, 3);
  if (mask.height != seen_.height || mask.width != seen_.width) {
    throw usage_error(
        "mask '{}' is {}x{}, its picture '{}' {}x{}; masks must have the picture's size", path,
        mask.height, mask.width, picture_.path, seen_.height, seen_.width);
  }
  constexpr std::uint8_t kCause = 191;  // three quarters of white
  const Image framed = letterboxed(mask, seen_.frame, picture_.image.height, picture_.image.width);
  quality::Mask result{picture_.image.height, picture_.image.width, {}};
  for (std::size_t i = 0; i < framed.pixels.size(); i += 3) {
    result.cause.push_back(framed.pixels[i] > kCause);
  }
  if (result.share() == 0) {
    throw usage_error("mask '{}' has no pixel above three quarters of white", path);
  }
  return result;
}

void BoxPictureExplainer::use_mask(const quality::Mask& mask) {
  for (BoxSubject& subject : subjects_) subject.mask = mask;
}

std::vector<explain::Attribution> BoxPictureExplainer::explain(
    const std::string& method, const explain::ExplainOptions& settings) {
  return judge_.explain(method, picture_.input, boxes_, settings);
}

std::string BoxPictureExplainer::not_finite(std::size_t target, const explain::Attribution& map) {
  return tapescope::not_finite(nullptr, map, picture_.input, 0, targets_[target].name);
}

ordered_json BoxPictureExplainer::facts(std::size_t target, const explain::Attribution& map) const {
  const ChosenBox& box = boxes_[target];
  const int height = picture_.image.height, width = picture_.image.width;
  // How much of what speaks for the box lies in it, and its share of the picture.
  const quality::Mask own = mask_of(box.box, height, width);
  const double inside = quality::mass_accuracy(upsample(drawable(map).map, height, width), own);
  const Grid::Place place = grid_.place(box.what.y, box.what.x);
  ordered_json json = {
      {"box", box_json(seen_.in_picture(box.box))},
      {"cell", {place.x, place.y}},
      {"letterbox",
       {{"scale", seen_.frame.scale}, {"left", seen_.frame.left}, {"top", seen_.frame.top}}},
      {"verdict", verdict_json(box.verdict, grid_)},
      {"energy_inside", inside},
      {"chance", own.share()}};
  if (grid_.levels.size() > 1) json["stride"] = place.stride;
  if (box.missed) {
    json["missed"] = {
        {"iou", box.missed->overlap},
        {"surest_class", config_.classes[static_cast<std::size_t>(box.missed->category)]},
        {"surest", box.missed->surest}};
  }
  return json;
}

std::string BoxPictureExplainer::remark(const ordered_json& facts) const {
  return fmt::format(": {:.0f} % of what speaks for it lies in the box, which covers {:.1f} %",
                     100 * facts["energy_inside"].get<double>(),
                     100 * facts["chance"].get<double>());
}

void BoxPictureExplainer::mark(Image& image, std::size_t target) const {
  const ChosenBox& box = boxes_[target];
  const Seen frame{box.box, box.what.category, box.verdict.score, box.what.y, box.what.x};
  const std::vector<std::string> names(config_.classes.size(), box.name);
  draw_boxes(image, std::span<const Seen>(&frame, 1), names);
}

std::vector<std::optional<quality::Panel>> BoxPictureExplainer::score(
    const std::string& method, std::span<const explain::Attribution> maps,
    const explain::ExplainOptions& settings) {
  const std::vector<quality::Panel> panels =
      judge_.score(method, maps, subjects_, boxes_, settings);
  return {panels.begin(), panels.end()};
}

std::vector<quality::PanelRow> BoxPictureExplainer::score_controls(std::size_t target) {
  return judge_.score_controls(subjects_[target]);
}

}  // namespace tapescope::tasks
