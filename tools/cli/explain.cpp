#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "autograd/explain/explainer.h"
#include "tools/cli/cli.h"
#include "tools/cli/pictures.h"
#include "tools/report/colormap.h"
#include "tools/report/contact_sheet.h"
#include "tools/report/npy.h"
#include "tools/report/png.h"

namespace tapescope::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  RunOptions run;
  std::vector<std::string> images;
  std::string methods = "all", target = "predicted", layer, out;
  double budget = 500;
  bool json = false;
};

std::vector<std::string> chosen_methods(const std::string& text) {
  std::vector<std::string> methods;
  if (text == "all") {
    for (std::string_view name : explain::Explainer::methods()) methods.emplace_back(name);
    return methods;
  }
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    methods.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return methods;
}

std::int64_t target_class(const Options& options, const LoadedModel& loaded, const Tensor& logits) {
  const auto scores = logits.values<float>();
  if (options.target == "predicted") {
    return std::max_element(scores.begin(), scores.end()) - scores.begin();
  }
  const auto& classes = loaded.info.classes;
  const auto found = std::find(classes.begin(), classes.end(), options.target);
  if (found == classes.end()) {
    throw usage_error("--target '{}' is no class of this model; they are {}", options.target,
                      fmt::join(classes, ", "));
  }
  return found - classes.begin();
}

// Channels added up: that keeps a complete map complete. {1,h,w,C} to h x w.
Map shown_map(const Tensor& map) {
  const Shape& s = map.shape();
  std::vector<float> sums(static_cast<std::size_t>(s[1] * s[2]), 0.0f);
  const auto values = map.values<float>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    sums[i / static_cast<std::size_t>(s[3])] += values[i];
  }
  return Map(static_cast<int>(s[1]), static_cast<int>(s[2]), sums);
}

nlohmann::ordered_json number(const Tensor& tensor) {
  return tensor.defined() ? nlohmann::ordered_json(tensor.item()) : nlohmann::ordered_json();
}

int run(const Options& options) {
  options.run.apply();
  const LoadedModel loaded = load_model(options.run.run, options.run.checkpoint);
  const ModelConfig& config = loaded.info.config;
  std::error_code error;
  fs::create_directories(options.out, error);
  if (error) {
    throw usage_error("--out '{}' cannot be made: {}; choose another folder", options.out,
                      error.message());
  }
  const Backend backend = options.run.backend();
  move_to(backend.device, loaded.model->parameters());
  explain::Explainer explainer(
      [&](Tape& tape, Var image) {
        return (*loaded.model)(tape, {{"image", image}}).at("logits");
      },
      {config.image_size, config.image_size, config.channels}, backend.device, backend.choices);
  const std::vector<std::string> methods = chosen_methods(options.methods);
  nlohmann::ordered_json maps = nlohmann::ordered_json::array();
  std::vector<SheetCell> cells;
  std::set<std::string> said;  // methods that were left out
  for (const std::string& path : options.images) {
    const Picture picture = read_picture(path, loaded.info);
    const std::int64_t index = target_class(options, loaded, explainer.logits(picture.input));
    const Tensor classes = Tensor::from<std::int64_t>({1}, {index});
    const std::string& class_name = loaded.info.classes[static_cast<std::size_t>(index)];
    cells.push_back({picture.image, picture.stem});
    for (const std::string& method : methods) {
      explain::ExplainOptions settings;
      settings.layer = options.layer;
      settings.budget = options.budget;
      explain::Attribution result;
      try {
        result = explainer.explain(method, picture.input, classes, settings);
      } catch (const Error& refused) {
        // Asked for all, a method that this model does not admit is left out and said so.
        if (options.methods != "all") throw;
        if (said.insert(method).second) fmt::print(stderr, "left out: {}\n", refused.what());
        continue;
      }
      const Map map = shown_map(result.map);
      const std::string stem = (fs::path(options.out) / picture.stem).string() + "." + method;
      const Image shown = overlay(picture.image, map, Colors::diverging);
      write_png(stem + ".png",
                with_color_bar(shown, Colors::diverging, range_of(map, Colors::diverging)));
      write_npy(stem + ".npy", result.map);
      cells.push_back({shown, method + ": " + class_name});
      maps.push_back({{"image", path},
                      {"method", method},
                      {"target", class_name},
                      {"node", result.node},
                      {"value", number(result.value)},
                      {"residual", number(result.residual)},
                      {"error_estimate", number(result.error_estimate)},
                      {"forward_passes", result.forward_passes},
                      {"png", stem + ".png"},
                      {"npy", stem + ".npy"}});
      if (!options.json) {
        fmt::print("{}: {} of '{}' at {}: {}.png\n", path, method, class_name, result.node, stem);
      }
    }
  }
  const std::string sheet = (fs::path(options.out) / "sheet.png").string();
  SheetOptions layout;
  layout.cell_size = 168;  // wide enough for the methods' names
  layout.columns = static_cast<int>(cells.size() / options.images.size());
  write_png(sheet, contact_sheet(cells, layout));
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"maps", maps}, {"sheet", sheet}}.dump(2));
  } else {
    fmt::print("all of them: {}\n", sheet);
  }
  return 0;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->run.add_to(app);
  app.add_option("images", options->images, "picture files")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--method", options->methods,
                 fmt::format("{}, several with commas, or all",
                             fmt::join(explain::Explainer::methods(), ", ")))
      ->capture_default_str();
  app.add_option("--target", options->target, "predicted, or the name of a class")
      ->capture_default_str();
  app.add_option("--layer", options->layer,
                 "node whose feature map the CAM methods look at; default: the last");
  app.add_option("--budget", options->budget, "most forward passes a map")
      ->capture_default_str()
      ->check(CLI::Range(10.0, 1e9));
  app.add_option("--out", options->out, "folder for pictures and arrays")->required();
  app.add_flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kExplain = {
    "explain", "where in the picture the answer came from",
    "tapescope explain --run runs/flowers rose.jpg --method grad-cam --out maps", setup};

}  // namespace tapescope::cli
