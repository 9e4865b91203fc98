#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "autograd/explain/explainer.h"
#include "tools/cli/cli.h"
#include "tools/cli/detector_commands.h"
#include "tools/cli/explanation_options.h"
#include "tools/cli/judge.h"
#include "tools/cli/judge_json.h"
#include "tools/cli/ledger.h"
#include "tools/cli/near_names.h"
#include "tools/cli/other_explanations.h"
#include "tools/cli/picture_files.h"
#include "tools/detection/detector_file.h"
#include "tools/explanation/drawing.h"
#include "tools/files/atomic_file.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/report/colormap.h"
#include "tools/report/contact_sheet.h"
#include "tools/report/npy.h"
#include "tools/report/png.h"
#include "tools/training/picture.h"
#include "tools/training/safetensors.h"

namespace tapescope::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kColumns = 8;  // of the sheet
// One of feature maps, one of relevance, one of gradients; of a detector's box likewise.
constexpr const char* kUsual = "grad-cam,lrp-epsilon-plus,integrated-gradients";
constexpr const char* kUsualOfBoxes = "odam,lrp-epsilon-plus,saliency";

struct Options {
  RunOptions run;
  std::vector<std::string> images;
  ExplanationOptions explanation;
  std::string out, mask, data;
  BoxOptions box;
  OtherOptions other;
  bool json = false, list = false, score = false, ledger = false;
  bool usual = false;  // nobody named the methods
};

int list_methods(const Options& options) {
  std::vector<explain::MethodInfo> all(explain::all_methods().begin(),
                                       explain::all_methods().end());
  for (const auto more : {explain::particular_methods(), explain::other_methods()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  nlohmann::ordered_json methods = nlohmann::ordered_json::array();
  for (const explain::MethodInfo& info : all) {
    if (options.json) {
      methods.push_back({{"method", info.name},
                         {"paper", info.paper},
                         {"cost", info.cost},
                         {"needs", info.needs},
                         {"blind_to", info.blind_to}});
      continue;
    }
    fmt::print("{}\n", info.name);
    if (!info.paper.empty()) fmt::print("  paper     {}\n", info.paper);
    fmt::print("  cost      {} (in forward passes)\n", info.cost);
    if (!info.needs.empty()) fmt::print("  needs     {}\n", info.needs);
    fmt::print("  blind to  {}\n", info.blind_to);
  }
  if (options.json) fmt::print("{}\n", json_text(nlohmann::ordered_json{{"methods", methods}}, 2));
  return 0;
}

nlohmann::ordered_json number(const Tensor& tensor) {
  return tensor.defined() ? nlohmann::ordered_json(tensor.item()) : nlohmann::ordered_json();
}

// Whether nothing in a class activation map speaks for the class: its usual ReLU would leave an
// empty picture.
bool nothing_positive(const Tensor& map) {
  const auto values = map.values<float>();
  return std::none_of(values.begin(), values.end(), [](float v) { return !(v <= 0); });
}

std::optional<quality::Mask> mask_of(const Options& options, const Picture& picture,
                                     const ModelInfo& info) {
  if (options.mask.empty()) return std::nullopt;
  return read_mask(options.mask, picture, info);
}

void expect_known_methods(const ExplanationOptions& explanation) {
  std::vector<std::string> known = {"all", "odam", "d-rise"};
  for (const explain::MethodInfo& info : explain::all_methods()) known.emplace_back(info.name);
  for (const std::string& method : comma_separated(explanation.methods)) {
    expect_no_slip("method", method, known, "`tapescope explain --list` tells all");
  }
}

// What `options` names is read, and is not written over.
void expect_outputs_apart(const Options& options) {
  InputFiles inputs = files_of(options.run);
  for (const std::string& path : {options.mask, options.data, options.explanation.segments,
                                  options.other.concept_folder, options.other.random_folder}) {
    if (!path.empty()) inputs.add(path);
  }
  expect_apart(inputs, options.images, options.out);
}

int run(Options& options) {
  if (options.list) return list_methods(options);
  if (options.run.run.empty()) {
    throw usage_error("--run is required: the run directory of `tapescope train`");
  }
  options.images = picture_files(options.images);
  options.usual =
      options.explanation.methods.empty() && options.explanation.settings.lrp.rules.empty();
  expect_known_methods(options.explanation);
  if (options.other.asked() > 0) {
    if (options.out.empty()) throw usage_error("--out is required: a folder for what is found");
    expect_outputs_apart(options);
    options.run.apply();
    return explain_otherwise({options.run, options.images, options.explanation, options.other,
                              options.data, options.out, options.json});
  }
  if (options.images.empty()) throw usage_error("no picture given: name at least one file");
  if (!options.mask.empty() && (!options.score || options.images.size() != 1)) {
    throw usage_error(
        "--mask goes with --score and one picture; benchmark-explanations takes many");
  }
  if (options.out.empty()) throw usage_error("--out is required: a folder for pictures and arrays");
  expect_outputs_apart(options);
  options.run.apply();
  const bool detector = detection::is_detector(options.run.run, options.run.checkpoint);
  if (options.usual) {
    options.explanation.methods = detector ? kUsualOfBoxes : kUsual;
    fmt::print(stderr,
               "methods: {}; others by --method NAME (`explain --list`), --method all for "
               "every one\n",
               options.explanation.methods);
  }
  if (detector) {
    if (options.ledger) throw usage_error("--ledger is of a classifier's run, not of a detector's");
    return explain_boxes(
        {options.run, options.explanation, options.box, options.data, options.out, options.json},
        options.images, options.score, options.mask);
  }
  const LoadedModel loaded = options.run.classifier();
  make_output_folder(options.out);
  const Backend backend = options.run.backend();
  explain::Explainer explainer = explainer_of(loaded, backend, options.explanation);
  std::optional<Judge> judge;
  if (options.score) judge.emplace(explainer, loaded, backend, options.explanation);
  const std::vector<std::string> methods = options.explanation.chosen_methods();
  if (options.ledger && std::none_of(methods.begin(), methods.end(), keeps_ledger)) {
    throw usage_error("--ledger needs an lrp method, such as --method lrp-epsilon-plus");
  }
  nlohmann::ordered_json maps = nlohmann::ordered_json::array();
  nlohmann::ordered_json controls = nlohmann::ordered_json::array();
  std::vector<SheetCell> cells;
  std::vector<StoredTensor> stored;
  std::size_t per_image = 0;
  std::set<std::string> stems;
  std::set<std::string> said;  // methods that were left out
  BadPictures bad;
  for (const std::string& path : options.images) {
    Picture picture;
    if (bad.skipped([&] { picture = read_picture(path, loaded.info); })) {
      maps.push_back({{"image", path}, {"error", bad.last()}});
      continue;
    }
    picture.stem = unused_stem(picture.stem, stems);
    const std::string stem_name = printable(picture.stem), path_name = printable(path);
    PictureSettings picture_settings(options.explanation, loaded.info, picture);
    const Target target =
        target_of(options.explanation, loaded.info, explainer.logits(picture.input));
    const std::int64_t index = target.index;
    const Tensor classes = Tensor::from<std::int64_t>({1}, {index});
    const std::string& class_name = target.name;
    const std::size_t first = cells.size();
    if (judge) judge->look_at(picture, index, mask_of(options, picture, loaded.info));
    std::vector<quality::PanelRow> panels;
    cells.push_back({picture.image, stem_name});
    for (const std::string& method : methods) {
      const explain::ExplainOptions settings = picture_settings.of(method);
      explain::Attribution result;
      try {
        result = explainer.explain(method, picture.input, classes, settings);
      } catch (const Error& refused) {
        // A method that was not named, and that this model does not admit, is left out and told.
        if (!options.usual && !options.explanation.may_be_left_out(method)) throw;
        if (said.insert(method).second) fmt::print(stderr, "left out: {}\n", refused.what());
        continue;
      }
      const std::string stem = (fs::path(options.out) / picture.stem).string() + "." + method;
      write_npy(stem + ".npy", result.map);
      stored.push_back({stem_name + "." + method, result.map});
      std::string png;  // units of a dense layer lie nowhere in the picture
      Image shown;
      if (result.map.shape().rank() == 4) {
        const DrawableMap drawn = drawable(result);
        shown = overlay(picture.image, drawn.map, drawn.colors);
        png = stem + ".png";
        write_png(png, with_color_bar(shown, drawn.colors, range_of(drawn.map, drawn.colors)));
      }
      cells.push_back({shown, method + ": " + class_name});
      const bool empty = result.map.shape().rank() == 4 && nothing_positive(result.map);
      const std::string broken = not_finite(&explainer, result, picture.input, index, class_name);
      if (!broken.empty()) {
        fmt::print(stderr, "{}: {}: {}\n", path_name, method, broken);
      } else if (empty) {
        fmt::print(stderr, "{}: {} has nothing that speaks for '{}'\n", path_name, method,
                   class_name);
      }
      maps.push_back({{"image", path},
                      {"method", method},
                      {"target", class_name},
                      {"node", result.node},
                      {"value", number(result.value)},
                      {"residual", number(result.residual)},
                      {"error_estimate", number(result.error_estimate)},
                      {"forward_passes", result.forward_passes},
                      {"nothing_positive", empty},
                      {"not_finite",
                       broken.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(broken)},
                      {"note", result.note},
                      {"baseline", options.explanation.baseline_names(method)},
                      {"png", png},
                      {"npy", stem + ".npy"}});
      if (options.ledger && keeps_ledger(method)) {
        const LedgerTable ledger = ledger_of(method, recorder_of(loaded, options.explanation),
                                             backend, picture.input, classes, settings.lrp);
        maps.back()["ledger"] = ledger_json(ledger);
        if (!options.json) fmt::print("{}", ledger_text(ledger));
      }
      if (judge) {
        if (const auto row = judge->score(result, settings)) {
          panels.push_back(*row);
          maps.back()["quality"] = quality_json(row->panel);
        }
      }
      if (!options.json) {
        fmt::print("{}: {} of '{}' at {}, {}{}{}: {}\n", path_name, method, class_name, result.node,
                   forward_passes(result.forward_passes), error_text(result),
                   result.note.empty() ? "" : " (" + result.note + ")",
                   printable(png.empty() ? stem + ".npy" : png));
      }
    }
    if (judge) {
      for (const quality::PanelRow& row : judge->score_controls()) {
        panels.push_back(row);
        controls.push_back({{"image", path},
                            {"control", row.method},
                            {"target", class_name},
                            {"quality", quality_json(row.panel)}});
      }
      if (!options.json) fmt::print("\n{}\n", quality::to_text(panels));
    }
    // Each picture begins a row of the sheet.
    per_image = std::max(per_image, cells.size() - first);
    while (per_image > kColumns && (cells.size() - first) % kColumns != 0) cells.push_back({});
  }
  std::string sheet;
  if (!cells.empty()) {
    sheet = (fs::path(options.out) / "sheet.png").string();
    SheetOptions layout;
    layout.cell_size = 168;  // wide enough for the methods' names
    layout.columns = static_cast<int>(std::min(per_image, kColumns));
    write_png(sheet, contact_sheet(cells, layout));
  }
  write_safetensors(fs::path(options.out) / "maps.safetensors", stored);
  const nlohmann::ordered_json scores = {{"run", options.run.run},
                                         {"checkpoint", options.run.checkpoint},
                                         {"settings",
                                          {{"layer", options.explanation.settings.layer},
                                           {"quadrature", options.explanation.quadrature},
                                           {"steps", options.explanation.settings.steps},
                                           {"draws", options.explanation.settings.draws},
                                           {"noise", options.explanation.settings.noise},
                                           {"window", options.explanation.settings.window},
                                           {"stride", options.explanation.settings.stride},
                                           {"grid", options.explanation.settings.grid},
                                           {"segments", options.explanation.segments},
                                           {"budget", options.explanation.settings.budget},
                                           {"composite", options.explanation.settings.lrp.rules},
                                           {"epsilon", options.explanation.settings.lrp.epsilon},
                                           {"gamma", options.explanation.settings.lrp.gamma},
                                           {"low", options.explanation.low},
                                           {"high", options.explanation.high},
                                           {"seed", options.explanation.settings.seed}}},
                                         {"maps", maps},
                                         {"controls", controls},
                                         {"sheet", sheet}};
  write_atomically(fs::path(options.out) / "scores.json", json_text(scores, 2) + "\n");
  if (options.json) {
    fmt::print("{}\n", json_text(scores, 2));
  } else if (!sheet.empty()) {
    fmt::print("all of them: {}\n", printable(sheet));
  }
  return bad.status(options.images.size());
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->run.add_to(app, false);
  options->run.add_allow_outside(app);
  app.add_option("images", options->images, "picture files, and folders of them")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  options->explanation.add_to(app);
  options->explanation.methods.clear();
  app.get_option("--method")
      ->description(
          "names from --list, several with commas, or all that the model admits; default: " +
          std::string(kUsual) + ", of a detector " + kUsualOfBoxes)
      ->default_str("");
  app.add_flag("--list", options->list, "print every method's paper, cost, needs and blind spot");
  app.add_option("--out", options->out, "folder for pictures and arrays");
  app.add_flag("--score", options->score,
               "score each map (deletion, ROAD, ...) beside maps that know nothing of the model");
  app.add_flag("--ledger", options->ledger,
               "of lrp methods: what of the relevance each node passed on, and what its bias, the "
               "stabiliser and empty denominators took");
  app.add_option(
      "--mask", options->mask,
      "picture of the same size, white where the cause of the answer is: scored against");
  options->box.add_to(app);
  options->other.add_to(app);
  app.add_option(
      "--data", options->data,
      "of a detector: the pictures' annotations (Pascal VOC, COCO or YOLO), for --missed and "
      "--score; else the training data, for --tracin and --nearest-examples");
  app.add_flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kExplain = {
    "explain", "where in the picture the answer came from",
    "tapescope explain --run runs/flowers rose.jpg --method grad-cam --out maps", setup};

}  // namespace tapescope::cli
