#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "tools/files/atomic_file.h"
#include "tools/files/json_number.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/monitoring/history.h"

namespace tapescope::monitoring {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

fs::path file_of(const fs::path& run) { return run / "history.jsonl"; }

// Five significant digits are more than anybody reads, and a quarter of the bytes.
Json rounded(const std::vector<double>& values) {
  Json list = Json::array();
  for (double value : values) list.push_back(std::stod(fmt::format("{:.5g}", value)));
  return list;
}

Json to_json(const inspection::Pulse& pulse) {
  Json activations = Json::array(), norms = Json::array();
  for (const inspection::PulseRow& row : pulse.activations) {
    activations.push_back({{"path", row.path},
                           {"op", row.op},
                           {"units", row.units},
                           {"dead", row.dead},
                           {"zero", row.zero_fraction},
                           {"saturated", row.saturated_fraction},
                           {"input_std", row.input_std},
                           {"output_std", row.output_std}});
  }
  for (const inspection::NormDrift& drift : pulse.norms) {
    norms.push_back({{"path", drift.path},
                     {"mean_shift", drift.mean_shift},
                     {"log_std_ratio", drift.log_std_ratio}});
  }
  return {{"activations", activations}, {"norms", norms}};
}

// A line that JSON reads and this does not: a number that is not whole, or lists that belong
// together and are not of one length.
struct DamagedLine {};
void expect_equal(std::size_t one, std::size_t other) {
  if (one != other) throw DamagedLine{};
}
template <class T>
T whole(const Json& value) {
  const std::optional<T> number = whole_in<T>(value);
  if (!number) throw DamagedLine{};
  return *number;
}
std::int64_t count_at(const Json& json, const char* key) {
  return whole<std::int64_t>(json.at(key));
}

// A number that has to be there; one that JSON cannot hold is written as null.
double number_at(const Json& json, const char* key) {
  const Json& value = json.at(key);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

inspection::Pulse pulse_from(const Json& json) {
  inspection::Pulse pulse;
  for (const Json& row : json.at("activations")) {
    pulse.activations.push_back({row.at("path"), row.at("op"), whole<int>(row.at("units")),
                                 whole<int>(row.at("dead")), number_at(row, "zero"),
                                 number_at(row, "saturated"), number_at(row, "input_std"),
                                 number_at(row, "output_std")});
  }
  for (const Json& row : json.at("norms")) {
    pulse.norms.push_back(
        {row.at("path"), number_at(row, "mean_shift"), number_at(row, "log_std_ratio")});
  }
  return pulse;
}

double number(const Json& json, const char* key, double otherwise = 0) {
  const auto it = json.find(key);
  if (it == json.end()) return otherwise;
  return number_at(json, key);
}

std::vector<NamedNumber> terms_from(const Json& line) {
  std::vector<NamedNumber> terms;
  if (const auto it = line.find("terms"); it != line.end()) {
    for (const auto& [name, value] : it->items()) {
      terms.push_back({name, number(*it, name.c_str())});
    }
  }
  return terms;
}

void put_terms(Json& line, const std::vector<NamedNumber>& terms) {
  for (const NamedNumber& term : terms) line["terms"][term.name] = term.value;
}

std::vector<double> numbers(const Json& json) {
  std::vector<double> values;
  for (const Json& value : json) {
    values.push_back(value.is_null() ? std::numeric_limits<double>::quiet_NaN()
                                     : value.get<double>());
  }
  return values;
}

void take_start(History& history, const Json& s, const fs::path& path) {
  HistoryStart start;  // all of it or nothing
  start.version = whole<int>(s.value("version", Json(0)));
  if (start.version > kHistoryVersion) {
    throw usage_error(
        "'{}' is of version {}, written by a newer tapescope; this one reads up to version {}",
        path.string(), start.version, kHistoryVersion);
  }
  start.model = s.at("model");
  start.loss = s.at("loss");
  start.score = s.value("score", start.score);
  start.epochs = count_at(s, "epochs");
  start.steps = count_at(s, "steps");
  start.batch_size = count_at(s, "batch_size");
  start.learning_rate = s.at("learning_rate");
  start.classes = s.at("classes").get<std::vector<std::string>>();
  for (const Json& images : s.at("images")) start.images.push_back(whole<std::int64_t>(images));
  expect_equal(start.images.size(), start.classes.size());
  start.validation_images = count_at(s, "validation_images");
  start.parameters = s.at("parameters").get<std::vector<std::string>>();
  history.start = std::move(start);
  history.has_start = true;
}

void take(History& history, const Json& line, const fs::path& path) {
  const std::int64_t step = count_at(line, "step");
  if (const auto it = line.find("start"); it != line.end()) {
    take_start(history, *it, path);
    return;
  }
  const std::int64_t epoch = count_at(line, "epoch");
  if (const auto it = line.find("statistics"); it != line.end()) {
    StatisticsRecord record;
    record.step = step;
    record.epoch = epoch;
    record.gradient = numbers(it->at("gradient"));
    record.weight = numbers(it->at("weight"));
    record.update = numbers(it->at("update"));
    record.half_gradient = numbers(it->at("half_gradient"));
    expect_equal(record.weight.size(), record.gradient.size());
    expect_equal(record.update.size(), record.gradient.size());
    record.batch = count_at(*it, "batch");
    record.half = count_at(*it, "half");
    record.seconds = number(*it, "seconds");
    history.statistics.push_back(std::move(record));
  } else if (const auto pulse = line.find("pulse"); pulse != line.end()) {
    history.pulses.push_back({step, epoch, pulse_from(*pulse)});
  } else if (const auto watch = line.find("watch"); watch != line.end()) {
    for (const Json& point : *watch) {
      history.watched.push_back({epoch, point.at("image"), point.at("method"), point.at("target"),
                                 point.at("probability"), point.at("predicted"), point.at("png")});
    }
  } else if (const auto failure = line.find("failure"); failure != line.end()) {
    history.failure = *failure;
  } else if (line.contains("train_loss")) {
    EpochRecord record;
    record.epoch = epoch;
    record.step = step;
    record.train_loss = number(line, "train_loss");
    record.validated = line.contains("validation_loss");
    record.validation_loss = number(line, "validation_loss");
    record.validation_score = number(line, "validation_accuracy");
    record.seconds = number(line, "seconds");
    record.images_per_second = number(line, "images_per_second");
    record.data_wait_seconds = number(line, "seconds_data_wait");
    record.statistics_seconds = number(line, "seconds_statistics");
    record.terms = terms_from(line);
    history.epochs.push_back(record);
  } else {
    history.steps.push_back({step, epoch, number(line, "loss"), number(line, "learning_rate"),
                             number(line, "gradient_norm"), number(line, "images_per_second"),
                             terms_from(line)});
  }
}

void append(AppendFile& file, const Json& line) { file.append(json_text(line) + "\n"); }

}  // namespace

History read_history(const fs::path& run) {
  const fs::path path = file_of(run);
  std::ifstream file(path);
  if (!file) {
    throw usage_error(
        "'{}' has no history.jsonl; is it a run directory of `tapescope train`, and has its "
        "training begun?",
        run.string());
  }
  History history;
  std::int64_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.empty()) continue;
    const bool last = file.peek() == std::char_traits<char>::eof();
    const auto leave_out = [&] {
      history.notes.push_back(
          last ? fmt::format("line {} of {}, the last, is cut short and was left out", number,
                             path.string())
               : fmt::format("line {} of {} cannot be read and was left out", number,
                             path.string()));
    };
    if (has_huge_object(line)) {
      leave_out();
      continue;
    }
    try {
      take(history, Json::parse(line), path);
    } catch (const Json::exception&) {
      leave_out();
    } catch (const DamagedLine&) {
      leave_out();
    }
  }
  return history;
}

namespace {

// A training that was stopped at an epoch's last step has its end still before it.
bool is_of_later_end(const Json& line, std::int64_t epochs) {
  const bool of_end =
      line.contains("train_loss") || line.contains("pulse") || line.contains("watch");
  const auto epoch = line.find("epoch");
  return of_end && epoch != line.end() && whole_in<std::int64_t>(*epoch).value_or(0) > epochs;
}

}  // namespace

HistoryWriter::HistoryWriter(const fs::path& run, bool resume, std::int64_t step,
                             std::int64_t epochs)
    : file_(file_of(run)) {
  std::string kept;  // lines of steps after the checkpoint would be written twice
  if (resume && fs::exists(file_.path())) {
    std::ifstream old(file_.path());
    for (std::string line; std::getline(old, line);) {
      const Json json = has_huge_object(line) ? Json() : Json::parse(line, nullptr, false);
      if (!json.is_object()) continue;
      const auto at = json.find("step");
      const auto number = at == json.end() ? std::nullopt : whole_in<std::int64_t>(*at);
      if (!number || *number > step) continue;
      if (is_of_later_end(json, epochs)) continue;
      has_start_ = has_start_ || json.contains("start");
      kept += line + "\n";
    }
    if (!old.eof()) {
      throw failure("'{}' cannot be read; a resumed training would lose what it holds",
                    printable(file_.path().string()));
    }
  }
  write_atomically(file_.path(), kept);
}

void HistoryWriter::add(const HistoryStart& s) {
  if (std::exchange(has_start_, true)) return;
  append(file_, {{"step", 0},
                 {"start",
                  {{"version", s.version},
                   {"model", s.model},
                   {"loss", s.loss},
                   {"score", s.score},
                   {"epochs", s.epochs},
                   {"steps", s.steps},
                   {"batch_size", s.batch_size},
                   {"learning_rate", s.learning_rate},
                   {"classes", s.classes},
                   {"images", s.images},
                   {"validation_images", s.validation_images},
                   {"parameters", s.parameters}}}});
}

void HistoryWriter::add(const StepRecord& r) {
  Json line = {{"step", r.step},
               {"epoch", r.epoch},
               {"loss", r.loss},
               {"learning_rate", r.learning_rate},
               {"gradient_norm", r.gradient_norm},
               {"images_per_second", r.images_per_second}};
  put_terms(line, r.terms);
  append(file_, line);
}

void HistoryWriter::add(const StatisticsRecord& r) {
  append(file_, {{"step", r.step},
                 {"epoch", r.epoch},
                 {"statistics",
                  {{"gradient", rounded(r.gradient)},
                   {"weight", rounded(r.weight)},
                   {"update", rounded(r.update)},
                   {"half_gradient", rounded(r.half_gradient)},
                   {"batch", r.batch},
                   {"half", r.half},
                   {"seconds", r.seconds}}}});
}

void HistoryWriter::add(const EpochRecord& r) {
  Json line = {{"epoch", r.epoch}, {"step", r.step}, {"train_loss", r.train_loss}};
  if (r.validated) {
    line["validation_loss"] = r.validation_loss;
    line["validation_accuracy"] = r.validation_score;
  }
  line["seconds"] = r.seconds;
  line["images_per_second"] = r.images_per_second;
  line["seconds_data_wait"] = r.data_wait_seconds;
  line["seconds_statistics"] = r.statistics_seconds;
  put_terms(line, r.terms);
  append(file_, line);
}

void HistoryWriter::add(const PulsePoint& point) {
  append(file_, {{"step", point.step}, {"epoch", point.epoch}, {"pulse", to_json(point.pulse)}});
}

void HistoryWriter::add(std::int64_t step, const std::vector<WatchPoint>& points) {
  if (points.empty()) return;
  Json list = Json::array();
  for (const WatchPoint& point : points) {
    list.push_back({{"image", point.image},
                    {"method", point.method},
                    {"target", point.target},
                    {"probability", point.probability},
                    {"predicted", point.predicted},
                    {"png", point.png}});
  }
  append(file_, {{"step", step}, {"epoch", points[0].epoch}, {"watch", list}});
}

void HistoryWriter::add_failure(std::int64_t step, std::int64_t epoch,
                                const std::string& sentence) {
  append(file_, {{"step", step}, {"epoch", epoch}, {"failure", sentence}});
}

}  // namespace tapescope::monitoring
