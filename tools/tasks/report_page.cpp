#include "tools/tasks/report_page.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "tools/files/atomic_file.h"
#include "tools/files/json_file.h"
#include "tools/inspection/activations.h"
#include "tools/inspection/parameters.h"
#include "tools/inspection/structure_graph.h"
#include "tools/monitoring/diagnosis.h"
#include "tools/page/page.h"
#include "tools/report/contact_sheet.h"
#include "tools/tasks/kit.h"

namespace tapescope::tasks {
namespace {

using Json = ReportPage::Json;
namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

ReportPage::ReportPage(const Run& run, const ReportOptions& options, const Backend& backend)
    : run_(run), options_(options), backend_(backend) {
  move_to(backend_.device, run.model().parameters());
  json_["notes"] = Json::array();
}

std::size_t ReportPage::write() {
  json_["colours"] = {{"diverging", page::colour_table(Colors::diverging)},
                      {"sequential", page::colour_table(Colors::sequential)}};
  const std::string title = fmt::format(
      "{} on {}", run_.name(), fs::path(run_.asked().run).lexically_normal().filename().string());
  const std::string text =
      page::assemble(title, json_.dump(-1, ' ', false, Json::error_handler_t::replace));
  write_atomically(options_.out, text);
  return text.size();
}

ExplainOptions ReportPage::explain_options() const {
  ExplainOptions asked{.backend = backend_, .score = options_.quality > 0};
  asked.request.methods = options_.methods.empty() ? run_.kit().usual_methods() : options_.methods;
  asked.request.settings.budget = options_.budget;
  return asked;
}

void ReportPage::structure() {
  const inspection::Structure structure =
      inspection::structure_of(record_of(run_.model()), run_.preprocess().image,
                               {.backend = backend_, .measure_batch = 1, .repeats = 5});
  json_["structure"] = Json::parse(inspection::to_json(structure, run_.name()));
  json_["structure_svg"] = inspection::to_svg(structure, "macs");
  card("parameters", inspection::grouped(static_cast<double>(structure.totals.parameters +
                                                             structure.totals.frozen)));
  card("multiply-adds per image", inspection::grouped(structure.totals.macs));
}

void ReportPage::parameters() {
  std::vector<ParameterRef> initial;
  try {
    initial = initial_parameters(run_);
  } catch (const Error&) {
    note("the run has no initial checkpoint: distances from the initial values are left out");
  }
  json_["parameters"] = Json::parse(
      inspection::to_json(inspection::parameters_of(run_.model().parameters(), initial), false));
  for (const ParameterRef& parameter : run_.model().parameters()) {
    std::vector<SheetCell> cells;
    for (Image& picture : inspection::filter_pictures(*parameter)) {
      cells.push_back({std::move(picture), fmt::format("{}", cells.size())});
    }
    if (cells.empty()) continue;
    json_["filters"] =
        page::picture_uri(contact_sheet(cells, {.cell_size = 64, .title = parameter->name}), 1200);
    break;
  }
}

void ReportPage::training() {
  try {
    history_ = monitoring::read_history(run_.asked().run);
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

void ReportPage::activations() {
  constexpr std::int64_t kImages = 128;
  const RunData sample = run_.data({options_.data, options_.split, kImages, {}});
  inspection::ActivationProbe probe(record_of(run_.model()), run_.preprocess().image,
                                    {.backend = backend_});
  Loader loader(sample.samples, {.batch_size = 16});
  loader.start(0);
  for (Batch batch; loader.next(batch);) probe.add(batch["image"], batch.indices);
  const std::vector<inspection::ActivationRow> rows = probe.rows();
  if (rows.empty()) return;
  json_["activations"] = Json::parse(inspection::to_json(rows, false));
  json_["activation_images"] = sample.samples->size();
  const inspection::ActivationRow* last = nullptr;
  for (const inspection::ActivationRow& row : rows) {
    json_["curves"].push_back(inspection::curve_svg(row));
    if (row.shape.rank() == 3) last = &row;
  }
  if (last == nullptr) return;
  for (std::size_t c = 0; c < std::min<std::size_t>(8, last->units.size()); ++c) {
    Json images = Json::array();
    for (const inspection::TopImage& top : last->units[c].top) {
      images.push_back({{"name", sample.name(top.index)},
                        {"value", top.value},
                        {"picture", page::picture_uri(sample.picture(top.index), kThumbnail)}});
    }
    json_["top_units"].push_back({{"unit", c}, {"images", images}});
  }
}

void ReportPage::evolution() {
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
             {"picture", page::picture_uri(
                             read_image((fs::path(run_.asked().run) / point.png).string()), 128)}});
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

void ReportPage::metrics(const fs::path& file) {
  Json metrics;
  try {
    metrics = read_json_object(file);
  } catch (const Error& error) {
    note(error.what());
    return;
  }
  const auto number = [&](const char* key) {
    const auto it = metrics.find(key);
    return it != metrics.end() && it->is_number() ? it->get<double>() : std::nan("");
  };
  for (const auto& [key, name] : {std::pair{"test_accuracy", "accuracy"}, {"test_ap50", "AP50"}}) {
    if (!std::isfinite(number(key))) continue;
    card(fmt::format("test {}, at the end of training", name),
         fmt::format("{:.2f} %", 100 * number(key)));
  }
  if (std::isfinite(number("best_epoch"))) {
    card("best epoch", fmt::format("{:.0f} of {:.0f}", number("best_epoch"), number("epochs")));
  }
  card("training", fmt::format("{:.0f} s", number("seconds")));
  card("images per second", fmt::format("{:.0f}", number("images_per_second")));
}

void ReportPage::summary() {
  const fs::path run = run_.asked().run;
  if (fs::exists(run / "metrics.json")) {
    metrics(run / "metrics.json");
  } else {
    note("the run has no metrics.json: its training has not ended, or was stopped");
  }
  const Shape image = run_.preprocess().image;
  card("input", fmt::format("{}×{}×{}", image[0], image[1], image[2]));
  card("classes", fmt::format("{}", run_.classes().size()));
  card("checkpoint", run_.asked().checkpoint);
  json_["summary"] = {{"cards", cards_}, {"config", text_of(run / "config.toml")}};
}

std::size_t write_report(const Run& run, const ReportOptions& options, const Backend& backend) {
  ReportPage page(run, options, backend);
  page.structure();
  page.parameters();
  page.training();
  if (options.data.empty()) {
    page.note(
        "without --data there are no predictions, activation functions and explanations here");
  } else {
    page.activations();
    run.report(page);
  }
  page.evolution();
  page.summary();
  return page.write();
}

}  // namespace tapescope::tasks
