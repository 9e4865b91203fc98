#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tools/cli/inspect.h"
#include "tools/cli/judge.h"
#include "tools/cli/judge_json.h"
#include "tools/explanation/drawing.h"
#include "tools/inspection/activations.h"
#include "tools/inspection/parameters.h"
#include "tools/inspection/structure_graph.h"
#include "tools/monitoring/diagnosis.h"
#include "tools/monitoring/suspects.h"
#include "tools/page/page.h"
#include "tools/report/contact_sheet.h"
#include "tools/training/atomic_file.h"

namespace tapescope::cli {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct Options {
  RunOptions run;
  std::string data, split = "test", out, methods = "grad-cam,lrp-epsilon-plus,integrated-gradients";
  std::int64_t images = 12, quality = 3, limit = 2000;
  double budget = 32;
};

constexpr int kThumbnail = 80, kPicture = 224, kMap = 112;  // pixels of the longer side
constexpr std::size_t kThumbnailsACell = 6, kMostThumbnails = 150;

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Gathers the parts of the page; what cannot be had becomes a note.
class Report {
 public:
  explicit Report(const Options& options)
      : options_(options),
        loaded_(load_model(options.run.run, options.run.checkpoint)),
        backend_(options.run.backend()) {
    move_to(backend_.device, loaded_.model->parameters());
    json_["notes"] = Json::array();
  }

  void write() {
    structure();
    parameters();
    training();
    if (options_.data.empty()) {
      note("without --data there are no predictions, activation functions and explanations here");
    } else {
      data();
    }
    evolution();
    summary();
    json_["colours"] = {{"diverging", page::colour_table(Colors::diverging)},
                        {"sequential", page::colour_table(Colors::sequential)}};
    const std::string title =
        fmt::format("{} on {}", loaded_.info.config.name,
                    fs::path(options_.run.run).lexically_normal().filename().string());
    const std::string text =
        page::assemble(title, json_.dump(-1, ' ', false, Json::error_handler_t::replace));
    write_atomically(options_.out, text);
    fmt::print("{}: {:.1f} MB\n", options_.out, static_cast<double>(text.size()) / 1e6);
  }

 private:
  void note(const std::string& sentence) { json_["notes"].push_back(sentence); }
  const std::string& class_name(std::int64_t c) const {
    return loaded_.info.classes[static_cast<std::size_t>(c)];
  }

  void structure() {
    const inspection::Structure structure =
        inspection::structure_of(record_of(*loaded_.model), image_shape_of(loaded_.info.config),
                                 {.backend = backend_, .measure_batch = 1, .repeats = 5});
    json_["structure"] = Json::parse(inspection::to_json(structure, loaded_.info.config.name));
    json_["structure_svg"] = inspection::to_svg(structure, "macs");
    card("parameters", inspection::grouped(static_cast<double>(structure.totals.parameters +
                                                               structure.totals.frozen)));
    card("multiply-adds an image", inspection::grouped(structure.totals.macs));
  }

  void parameters() {
    std::vector<ParameterRef> initial;
    try {
      initial = load_model(options_.run.run, "initial").model->parameters();
    } catch (const Error&) {
      note("the run has no initial checkpoint: distances from the initial values are left out");
    }
    json_["parameters"] = Json::parse(inspection::to_json(
        inspection::parameters_of(loaded_.model->parameters(), initial), false));
    for (const ParameterRef& parameter : loaded_.model->parameters()) {
      std::vector<SheetCell> cells;
      for (Image& picture : inspection::filter_pictures(*parameter)) {
        cells.push_back({std::move(picture), fmt::format("{}", cells.size())});
      }
      if (cells.empty()) continue;
      json_["filters"] = page::picture_uri(
          contact_sheet(cells, {.cell_size = 64, .title = parameter->name}), 1200);
      break;
    }
  }

  void training() {
    try {
      history_ = monitoring::read_history(options_.run.run);
    } catch (const Error& error) {
      note(error.what());
      return;
    }
    for (const std::string& sentence : history_.notes) note(sentence);
    json_["training"] = Json::parse(monitoring::to_json(history_, monitoring::diagnose(history_)));
    if (!history_.has_start) {
      note(
          "the history does not say how the training began: it is from an older version, and the "
          "diagnosis knows less");
    }
  }

  void data() {
    const DataSplits splits =
        open_data(options_.data, data_options_of(loaded_.info, options_.split));
    for (const std::string& notice : splits.notices) note(notice);
    std::shared_ptr<const Dataset> data = splits.split(options_.split);
    if (data->size() > options_.limit) {
      note(fmt::format("{} of {} images of {} were looked at, evenly over the set", options_.limit,
                       data->size(), options_.split));
      data = std::make_shared<Subset>(data, spread(data->size(), options_.limit));
    }
    fmt::print(stderr, "judging {} images\n", data->size());
    const std::vector<monitoring::Judged> judged =
        monitoring::judge_images(*loaded_.model, loaded_.info, data, backend_);
    confusion(*data, judged);
    activations(data);
    explanations(*data, judged);
    suspects(splits);
  }

  void confusion(const Dataset& data, const std::vector<monitoring::Judged>& judged) {
    const std::size_t classes = loaded_.info.classes.size();
    std::vector<std::vector<std::int64_t>> matrix(classes, std::vector<std::int64_t>(classes, 0));
    Json cells = Json::object();
    std::size_t thumbnails = 0, right = 0;
    for (const monitoring::Judged& j : judged) {
      ++matrix[static_cast<std::size_t>(j.label)][static_cast<std::size_t>(j.predicted)];
      right += j.label == j.predicted;
    }
    // Errors first: they are what one wants to see.
    for (const bool errors : {true, false}) {
      for (const monitoring::Judged& j : judged) {
        if ((j.label != j.predicted) != errors || thumbnails >= kMostThumbnails) continue;
        Json& cell = cells[fmt::format("{},{}", j.label, j.predicted)];
        if (cell.size() >= (errors ? kThumbnailsACell : 2)) continue;
        cell.push_back({{"name", data.name(j.index)},
                        {"probability", j.predicted_probability},
                        {"picture", page::picture_uri(copy_of(data.image(j.index)), kThumbnail)}});
        ++thumbnails;
      }
    }
    json_["confusion"] = {{"classes", loaded_.info.classes},
                          {"matrix", matrix},
                          {"cells", cells},
                          {"images", judged.size()},
                          {"split", options_.split}};
    card(options_.split + " accuracy",
         fmt::format("{:.2f} %", judged.empty() ? 0.0
                                                : 100.0 * static_cast<double>(right) /
                                                      static_cast<double>(judged.size())));
  }

  void activations(const std::shared_ptr<const Dataset>& data) {
    constexpr std::int64_t kImages = 128;
    const auto sample = std::make_shared<Subset>(data, spread(data->size(), kImages));
    inspection::ActivationProbe probe(record_of(*loaded_.model),
                                      image_shape_of(loaded_.info.config), {.backend = backend_});
    Loader loader(sample, loaded_.info.pipeline, {.batch_size = 16});
    loader.start(0);
    for (Batch batch; loader.next(batch);) probe.add(batch["image"], batch.indices);
    const std::vector<inspection::ActivationRow> rows = probe.rows();
    if (rows.empty()) return;
    json_["activations"] = Json::parse(inspection::to_json(rows, false));
    json_["activation_images"] = sample->size();
    const inspection::ActivationRow* last = nullptr;
    for (const inspection::ActivationRow& row : rows) {
      json_["curves"].push_back(inspection::curve_svg(row));
      if (row.shape.rank() == 3) last = &row;
    }
    if (last == nullptr) return;
    for (std::size_t c = 0; c < std::min<std::size_t>(8, last->units.size()); ++c) {
      Json images = Json::array();
      for (const inspection::TopImage& top : last->units[c].top) {
        images.push_back(
            {{"name", sample->name(top.index)},
             {"value", top.value},
             {"picture", page::picture_uri(copy_of(sample->image(top.index)), kThumbnail)}});
      }
      json_["top_units"].push_back({{"unit", c}, {"images", images}});
    }
  }

  // The worst answers and the best ones, half each.
  void explanations(const Dataset& data, std::vector<monitoring::Judged> judged) {
    std::stable_sort(
        judged.begin(), judged.end(),
        [](const monitoring::Judged& a, const monitoring::Judged& b) { return a.loss > b.loss; });
    const auto half = static_cast<std::size_t>((options_.images + 1) / 2);
    std::vector<std::pair<std::string, monitoring::Judged>> chosen;
    for (std::size_t i = 0; i < std::min(half, judged.size()); ++i) {
      const bool wrong = judged[i].label != judged[i].predicted;
      chosen.emplace_back(wrong ? "wrong" : "least sure", judged[i]);
    }
    const std::size_t rest = judged.size() - chosen.size();
    for (std::size_t i = 0; i < std::min(static_cast<std::size_t>(options_.images) / 2, rest);
         ++i) {
      chosen.emplace_back("right", judged[judged.size() - 1 - i]);
    }
    ExplanationOptions explanation;
    explanation.methods = options_.methods;
    explanation.settings.budget = options_.budget;
    explain::Explainer explainer = explainer_of(loaded_, backend_, explanation);
    Judge judge(explainer, loaded_, backend_, explanation);
    std::vector<std::string> methods = explanation.chosen_methods();
    std::map<std::string, std::vector<quality::Panel>> panels;
    std::vector<std::string> scored;  // rows of the quality table, in order
    Json images = Json::array();
    for (std::size_t n = 0; n < chosen.size(); ++n) {
      const auto& [group, j] = chosen[n];
      fmt::print(stderr, "explaining {} of {}\n", n + 1, chosen.size());
      const Picture picture =
          make_picture(copy_of(data.image(j.index)), data.name(j.index), loaded_.info);
      PictureSettings settings(explanation, loaded_.info, picture);
      const std::vector<double> p = probabilities_of(explainer.logits(picture.input));
      std::vector<std::int64_t> targets{j.predicted};
      targets.push_back(j.label != j.predicted ? j.label : runner_up(p, j.predicted));
      Json maps = Json::array(), named = Json::object();
      for (std::int64_t target : targets) {
        named[class_name(target)] = p[static_cast<std::size_t>(target)];
        const bool score = target == j.predicted && n < static_cast<std::size_t>(options_.quality);
        if (score) judge.look_at(picture, target, std::nullopt);
        for (auto it = methods.begin(); it != methods.end();) {
          try {
            const explain::ExplainOptions method_settings = settings.of(*it);
            const explain::Attribution a = explainer.explain(
                *it, picture.input, Tensor::from<std::int64_t>({1}, {target}), method_settings);
            maps.push_back(map_json(a, target));
            if (const auto row = score ? judge.score(a, method_settings) : std::nullopt) {
              keep(panels, scored, *row);
            }
            ++it;
          } catch (const Error& refused) {
            note(fmt::format("{} is left out: {}", *it, refused.what()));
            it = methods.erase(it);
          }
        }
        if (!score) continue;
        for (const quality::PanelRow& row : judge.score_controls()) keep(panels, scored, row);
      }
      images.push_back({{"name", fs::path(data.name(j.index)).filename().string()},
                        {"group", group},
                        {"label", class_name(j.label)},
                        {"predicted", class_name(j.predicted)},
                        {"probabilities", named},
                        {"picture", page::picture_uri(picture.image, kPicture)},
                        {"maps", maps}});
    }
    json_["images"] = images;
    if (scored.empty()) return;
    std::stable_partition(scored.begin(), scored.end(),
                          [](const std::string& m) { return !m.starts_with("control-"); });
    Json metrics = Json::array(), rows = Json::array();
    for (const quality::MetricInfo& info : quality::all_metrics()) {
      metrics.push_back({{"name", info.name}, {"better", info.better}, {"what", info.what}});
    }
    for (const std::string& method : scored) {
      rows.push_back(
          {{"method", method}, {"mean", quality_json(quality::mean_of(panels[method]).mean)}});
    }
    json_["quality"] = {
        {"images", panels[scored[0]].size()}, {"metrics", metrics}, {"methods", rows}};
  }

  static void keep(std::map<std::string, std::vector<quality::Panel>>& panels,
                   std::vector<std::string>& order, const quality::PanelRow& row) {
    if (panels[row.method].empty()) order.push_back(row.method);
    panels[row.method].push_back(row.panel);
  }

  static std::int64_t runner_up(const std::vector<double>& p, std::int64_t best) {
    std::int64_t second = best == 0 ? 1 : 0;
    for (std::size_t c = 0; c < p.size(); ++c) {
      if (static_cast<std::int64_t>(c) != best && p[c] > p[static_cast<std::size_t>(second)]) {
        second = static_cast<std::int64_t>(c);
      }
    }
    return second;
  }

  Json map_json(const explain::Attribution& a, std::int64_t target) const {
    const DrawableMap drawn = drawable(a);
    const page::PackedMap packed = page::packed(drawn.map, kMap);
    return {{"method", a.method},
            {"target", class_name(target)},
            {"colours", drawn.colors == Colors::diverging ? "diverging" : "sequential"},
            {"height", packed.height},
            {"width", packed.width},
            {"scale", packed.scale},
            {"values", packed.values},
            {"value", a.value.defined() ? Json(a.value.item()) : Json()},
            {"residual", a.residual.defined() ? Json(a.residual.item()) : Json()},
            {"forward_passes", a.forward_passes}};
  }

  void suspects(const DataSplits& splits) {
    constexpr std::size_t kMost = 12;
    if (!splits.train || splits.train->size() > options_.limit) return;
    for (const monitoring::Judged& j : monitoring::label_suspects(
             monitoring::judge_images(*loaded_.model, loaded_.info, splits.train, backend_),
             kMost)) {
      json_["suspects"].push_back(
          {{"name", splits.train->name(j.index)},
           {"label", class_name(j.label)},
           {"predicted", class_name(j.predicted)},
           {"probability", j.predicted_probability},
           {"picture", page::picture_uri(copy_of(splits.train->image(j.index)), kThumbnail)}});
    }
  }

  void evolution() {
    constexpr std::size_t kMostSeries = 8, kMostFrames = 12;
    std::vector<std::pair<std::string, std::string>> series;
    for (const monitoring::WatchPoint& point : history_.watched) {
      const std::pair key{point.image, point.method};
      if (std::find(series.begin(), series.end(), key) == series.end()) series.push_back(key);
    }
    if (series.size() > kMostSeries) series.resize(kMostSeries);
    for (const auto& [image, method] : series) {
      std::vector<const monitoring::WatchPoint*> points;
      for (const monitoring::WatchPoint& point : history_.watched) {
        if (point.image == image && point.method == method) points.push_back(&point);
      }
      Json frames = Json::array();
      const std::size_t count = std::min(kMostFrames, points.size());
      for (std::size_t i = 0; i < count; ++i) {
        // Evenly, first and last among them.
        const monitoring::WatchPoint& point =
            *points[count > 1 ? i * (points.size() - 1) / (count - 1) : 0];
        try {
          frames.push_back(
              {{"epoch", point.epoch},
               {"probability", point.probability},
               {"predicted", point.predicted},
               {"picture",
                page::picture_uri(read_image((fs::path(options_.run.run) / point.png).string()),
                                  128)}});
        } catch (const Error& missing) {
          note(missing.what());
        }
      }
      if (frames.empty()) continue;
      json_["evolution"].push_back({{"image", image},
                                    {"method", method},
                                    {"target", points.back()->target},
                                    {"frames", frames}});
    }
  }

  void summary() {
    const fs::path run = options_.run.run;
    const Json metrics = Json::parse(text_of(run / "metrics.json"), nullptr, false);
    if (metrics.is_object()) {
      const auto number = [&](const char* key) {
        const auto it = metrics.find(key);
        return it != metrics.end() && it->is_number() ? it->get<double>() : std::nan("");
      };
      if (std::isfinite(number("test_accuracy"))) {
        card("test accuracy, at the end of training",
             fmt::format("{:.2f} %", 100 * number("test_accuracy")));
      }
      if (std::isfinite(number("best_epoch"))) {
        card("best epoch", fmt::format("{:.0f} of {:.0f}", number("best_epoch"), number("epochs")));
      }
      card("training", fmt::format("{:.0f} s", number("seconds")));
      card("images a second", fmt::format("{:.0f}", number("images_per_second")));
    } else {
      note("the run has no metrics.json: its training has not ended, or was stopped");
    }
    const ModelConfig& config = loaded_.info.config;
    card("input", fmt::format("{}×{}×{}", config.image_size, config.image_size, config.channels));
    card("classes", fmt::format("{}", loaded_.info.classes.size()));
    card("checkpoint", options_.run.checkpoint);
    json_["summary"] = {{"cards", cards_}, {"config", text_of(run / "config.toml")}};
  }

  void card(const std::string& name, const std::string& value) {
    cards_.push_back({{"name", name}, {"value", value}});
  }

  const Options& options_;
  LoadedModel loaded_;
  Backend backend_;
  monitoring::History history_;
  Json json_;
  Json cards_ = Json::array();
};

int run(const Options& options) {
  options.run.apply();
  const fs::path folder = fs::path(options.out).parent_path();
  if (!folder.empty()) make_output_folder(folder);
  Report(options).write();
  return 0;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->run.add_to(app);
  app.add_option("--data", options->data,
                 "the data: adds predictions, activation functions and explanations");
  app.add_option("--split", options->split, "train, validation or test")->capture_default_str();
  app.add_option("--out", options->out, "the HTML file to write")->required();
  app.add_option("--method", options->methods, "explanations, NAME[,NAME]...")
      ->capture_default_str();
  app.add_option("--images", options->images, "explained images: half the worst, half the best")
      ->capture_default_str()
      ->check(CLI::Range(0, 200));
  app.add_option("--budget", options->budget, "forward passes a map of a sampling method may take")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--quality", options->quality,
                 "images on which the explanations are scored; 0: none")
      ->capture_default_str()
      ->check(CLI::Range(0, 200));
  app.add_option("--limit", options->limit, "most images of the split that are looked at")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 30));
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kReport = {
    "report", "a page of one file: curves, diagnosis, structure, activations, explanations",
    "tapescope report --run runs/flowers --data flowers --out report.html", setup};

}  // namespace tapescope::cli
