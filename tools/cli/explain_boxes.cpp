#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/cli/detector_commands.h"
#include "tools/detection/detector.h"
#include "tools/explanation/drawing.h"
#include "tools/report/contact_sheet.h"
#include "tools/report/npy.h"
#include "tools/report/png.h"
#include "tools/training/atomic_file.h"

namespace tapescope::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using namespace detection;

constexpr const char* kLayer = "smooth4/2/relu";  // the last map that both heads read
constexpr const char* kSides[] = {"left", "top", "right", "bottom"};

// One cell of the heat map, what it says, and which of its numbers is explained.
struct Chosen {
  int y = 0, x = 0, index = 0;
  bool is_side = false;
  std::string name;
  Box box;  // in the input's pixels
  float score = 0;
};

// The detector's answer at one cell as a row of numbers a sample: class logits or the four sides.
explain::Explainer::Record at_cell(CentreDetector& model, const Chosen& chosen, int against) {
  return [&model, chosen, against](Tape& tape, Var image) {
    const NamedVars out = model(tape, {{"image", image}});
    const Var whole = out.at(chosen.is_side ? "ltrb" : "heat");
    const Var row = slice(slice(whole, 1, chosen.y, chosen.y + 1), 2, chosen.x, chosen.x + 1);
    const Var numbers = reshape(row, {whole.shape()[3]});
    return against < 0 ? numbers : sub(numbers, slice(numbers, 1, against, against + 1));
  };
}

std::pair<double, double> parsed_point(const std::string& text) {
  const std::vector<std::string> words = comma_separated(text);
  try {
    if (words.size() == 2) return {std::stod(words[0]), std::stod(words[1])};
  } catch (const std::exception&) {
  }
  throw usage_error("--at '{}' is not of the form X,Y, for instance 120,85", text);
}

// The share of the map's size that lies in the box.
double energy_inside(const Map& map, const Box& box) {
  double inside = 0, all = 0;
  for (int y = 0; y < map.height; ++y) {
    for (int x = 0; x < map.width; ++x) {
      const double v = std::abs(map.values[static_cast<std::size_t>(y * map.width + x)]);
      const double px = x + 0.5, py = y + 0.5;
      all += v;
      if (px >= box.x && px < box.x + box.w && py >= box.y && py < box.y + box.h) inside += v;
    }
  }
  return all > 0 ? inside / all : 0;
}

Chosen choose(Detector& detector, const Image& picture, const BoxOptions& options,
              const ExplanationOptions& explanation) {
  const DetectorConfig& config = detector.config();
  Chosen chosen;
  DetectOptions detect;
  detect.threshold = options.at.empty() ? static_cast<float>(options.threshold) : 0.0f;
  const Letterbox frame = detector.letterbox(picture);
  if (options.at.empty()) {
    const std::vector<Seen> seen = detector.detect(picture, detect);
    const std::int64_t number = std::max<std::int64_t>(options.box, 0);
    if (number >= static_cast<std::int64_t>(seen.size())) {
      throw usage_error(
          "--box {}: there are {} boxes above --threshold {}; `tapescope detect` lists "
          "them, and --at X,Y explains a place without one",
          number, seen.size(), options.threshold);
    }
    const Seen& s = seen[static_cast<std::size_t>(number)];
    chosen = {s.cell_y, s.cell_x, s.category, false, {}, frame.into_input(s.box), s.score};
  } else {
    const auto [px, py] = parsed_point(options.at);
    const Box point = frame.into_input({px, py, 0, 0});
    const int h = static_cast<int>(config.height) / kStride,
              w = static_cast<int>(config.width) / kStride;
    if (px < 0 || py < 0 || px >= picture.width || py >= picture.height) {
      throw usage_error("--at {} lies outside the picture of {}x{}", options.at, picture.width,
                        picture.height);
    }
    chosen.y = std::clamp(static_cast<int>(point.y) / kStride, 0, h - 1);
    chosen.x = std::clamp(static_cast<int>(point.x) / kStride, 0, w - 1);
    chosen.box = {static_cast<double>(chosen.x * kStride), static_cast<double>(chosen.y * kStride),
                  kStride, kStride};
    chosen.index = -1;  // the class that the cell speaks for most: known once it has been asked
  }
  const auto side = std::find(std::begin(kSides), std::end(kSides), options.side);
  if (options.side != "score" && side == std::end(kSides)) {
    throw usage_error("--side '{}' is unknown; it is score, left, top, right or bottom",
                      options.side);
  }
  if (side != std::end(kSides)) {
    chosen.is_side = true;
    chosen.index = static_cast<int>(side - std::begin(kSides));
    chosen.name = fmt::format("{} side", options.side);
  } else if (explanation.target != "predicted") {
    const auto it = std::find(config.classes.begin(), config.classes.end(), explanation.target);
    if (it == config.classes.end()) {
      throw usage_error("--target '{}' is no class of this model", explanation.target);
    }
    chosen.index = static_cast<int>(it - config.classes.begin());
  }
  return chosen;
}

}  // namespace

int explain_boxes(const RunOptions& run, const std::vector<std::string>& images,
                  const ExplanationOptions& explanation, const BoxOptions& options,
                  const std::string& out, bool json) {
  Detector detector(load_detector(run.run, run.checkpoint), run.backend());
  const DetectorConfig& config = detector.config();
  make_output_folder(out);
  int against = -1;
  if (!explanation.against.empty()) {
    const auto it = std::find(config.classes.begin(), config.classes.end(), explanation.against);
    if (it == config.classes.end() || options.side != "score") {
      throw usage_error("--against '{}' must be a class of this model, and goes with --side score",
                        explanation.against);
    }
    against = static_cast<int>(it - config.classes.begin());
  }
  // What baselines are made with: the input as a picture, and how it becomes numbers.
  ModelInfo info;
  info.classes = config.classes;
  info.config.channels = 3;
  info.pipeline = Pipeline({ToTensor{}, Normalize{{0.5}, {0.25}}});
  ordered_json maps = ordered_json::array();
  std::vector<SheetCell> cells;
  for (const std::string& path : images) {
    const Image original = read_image(path);
    Chosen chosen = choose(detector, original, options, explanation);
    Picture picture;
    picture.path = path;
    picture.stem = fs::path(path).stem().string();
    picture.image = letterboxed(original, detector.letterbox(original),
                                static_cast<int>(config.height), static_cast<int>(config.width));
    picture.input = detector.input(original);
    const Backend backend = run.backend();
    explain::Explainer explainer(at_cell(detector.model(), chosen, against),
                                 {config.height, config.width, 3}, backend.device, backend.choices);
    const Tensor scores = explainer.logits(picture.input);
    if (chosen.index < 0) {
      const auto v = scores.values<float>();
      chosen.index = static_cast<int>(std::max_element(v.begin(), v.end()) - v.begin());
    }
    if (chosen.name.empty()) chosen.name = config.classes[static_cast<std::size_t>(chosen.index)];
    const Tensor classes = Tensor::from<std::int64_t>({1}, {chosen.index});
    const double chance = chosen.box.area() / static_cast<double>(config.height * config.width);
    Image marked = picture.image;
    const Seen mark{chosen.box, chosen.is_side ? 0 : chosen.index, chosen.score, chosen.y,
                    chosen.x};
    const auto frame = [&](Image& image) {
      const std::vector<std::string> names(config.classes.size(), chosen.name);
      draw_boxes(image, std::span<const Seen>(&mark, 1), names);
    };
    frame(marked);
    cells.push_back({marked, picture.stem});
    PictureSettings settings(explanation, info, picture);
    for (const std::string& method : explanation.chosen_methods()) {
      explain::ExplainOptions method_settings = settings.of(method);
      if (method_settings.layer.empty()) method_settings.layer = kLayer;
      explain::Attribution result;
      try {
        result = explainer.explain(method, picture.input, classes, method_settings);
      } catch (const Error& refused) {
        if (explanation.methods != "all") throw;
        fmt::print(stderr, "left out: {}\n", refused.what());
        continue;
      }
      const DrawableMap drawn = drawable(result);
      Image shown = overlay(picture.image, drawn.map, drawn.colors);
      frame(shown);
      const std::string stem = (fs::path(out) / picture.stem).string() + "." + method;
      write_png(stem + ".png", shown);
      write_npy(stem + ".npy", result.map);
      cells.push_back({shown, method});
      const double energy =
          energy_inside(upsample(drawn.map, picture.image.height, picture.image.width), chosen.box);
      maps.push_back({{"image", path},
                      {"method", method},
                      {"target", chosen.name},
                      {"box", {chosen.box.x, chosen.box.y, chosen.box.w, chosen.box.h}},
                      {"cell", {chosen.y, chosen.x}},
                      {"node", result.node},
                      {"value", result.value.item()},
                      {"residual", result.residual.defined() ? ordered_json(result.residual.item())
                                                             : ordered_json()},
                      {"forward_passes", result.forward_passes},
                      {"energy_inside", energy},
                      {"chance", chance},
                      {"png", stem + ".png"},
                      {"npy", stem + ".npy"}});
      if (!json) {
        fmt::print(
            "{}: {} of '{}' at cell {}, {}: {:.0f} % of it in the box, which covers {:.1f} %: {}\n",
            path, method, chosen.name, chosen.x, chosen.y, 100 * energy, 100 * chance,
            stem + ".png");
      }
    }
  }
  write_png(fs::path(out) / "sheet.png", contact_sheet(cells, {.cell_size = 240}));
  const ordered_json scores = {{"run", run.run}, {"maps", maps}};
  write_atomically(fs::path(out) / "scores.json", scores.dump(2) + "\n");
  if (json) fmt::print("{}\n", scores.dump(2));
  return 0;
}

}  // namespace tapescope::cli
