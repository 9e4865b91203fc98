#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/monitoring/diagnosis.h"
#include "tools/monitoring/progress_line.h"

namespace tapescope::monitoring {
namespace {

using Json = nlohmann::ordered_json;

// NaN and infinity have no JSON.
Json number(double v) { return std::isfinite(v) ? Json(v) : Json(); }

Json terms_json(const std::vector<NamedNumber>& terms) {
  Json json = Json::object();
  for (const NamedNumber& term : terms) json[term.name] = number(term.value);
  return json;
}

}  // namespace

std::string to_text(const History& h, const std::vector<Finding>& findings) {
  std::string text;
  for (const std::string& note : h.notes) text += note + '\n';
  if (h.has_start) {
    text +=
        fmt::format("{}, {} epochs of {} steps, batch {}, learning rate {:.3g}\n\n", h.start.model,
                    h.start.epochs, h.start.epochs > 0 ? h.start.steps / h.start.epochs : 0,
                    h.start.batch_size, h.start.learning_rate);
  }
  if (!h.epochs.empty()) {
    const std::vector<NamedNumber>& terms = h.epochs.back().terms;
    text += fmt::format("{:>6} {:>11}", "epoch", "train loss");
    for (const NamedNumber& term : terms) text += fmt::format(" {:>13}", spaced(term.name));
    text += fmt::format(" {:>11} {:>10} {:>10} {:>9} {:>12}\n", "val. loss",
                        h.start.score == "accuracy" ? "val. acc." : "val. " + h.start.score,
                        "images/s", "waiting", "statistics");
    // All of a short training; of a long one about twenty, the last among them.
    const std::size_t every = std::max<std::size_t>(1, h.epochs.size() / 20);
    for (std::size_t i = 0; i < h.epochs.size(); ++i) {
      const EpochRecord& e = h.epochs[i];
      if (i % every != 0 && i + 1 != h.epochs.size()) continue;
      const double share = e.seconds > 0 ? 100 / e.seconds : 0;
      text += fmt::format("{:>6} {:>11.4f}", e.epoch, e.train_loss);
      for (std::size_t k = 0; k < terms.size(); ++k) {
        text += fmt::format(" {:>13}",
                            k < e.terms.size() ? fmt::format("{:.4g}", e.terms[k].value) : "");
      }
      text += fmt::format(" {:>11} {:>10} {:>10.0f} {:>8.1f}% {:>11.2f}%\n",
                          e.validated ? fmt::format("{:.4f}", e.validation_loss) : "",
                          e.validated ? fmt::format("{:.2f} %", 100 * e.validation_score) : "",
                          e.images_per_second, e.data_wait_seconds * share,
                          e.statistics_seconds * share);
    }
    text += '\n';
  }
  const std::vector<ParameterStatistics> rows = parameter_statistics(h);
  if (!rows.empty() && !h.statistics.empty()) {
    std::size_t width = 9;
    for (const ParameterStatistics& row : rows) width = std::max(width, row.name.size());
    text +=
        fmt::format("{:<{}} {:>11} {:>11} {:>14} {:>16} {:>16}\n", "parameter", width, "gradient",
                    "weight", "update:weight", "gradient:weight", "signal to noise");
    for (const ParameterStatistics& row : rows) {
      text += fmt::format(
          "{:<{}} {:>11.3g} {:>11.3g} {:>14.2g} {:>16.2g} {:>16}\n", row.name, width, row.gradient,
          row.weight, row.update_to_weight, row.gradient_to_weight,
          row.signal_to_noise > 0 ? fmt::format("{:.2f}", row.signal_to_noise) : "below noise");
    }
    text += fmt::format("(medians of the last half's {} records)\n",
                        h.statistics.size() - h.statistics.size() / 2);
    if (const double scale = gradient_noise_scale(h); scale > 0) {
      text += fmt::format("gradient noise scale: about {:.3g} images\n", scale);
    }
    text += '\n';
  }
  if (findings.empty()) return text + "diagnosis: nothing wrong that the history shows\n";
  text += "diagnosis\n";
  for (const Finding& f : findings) {
    text += fmt::format("  {}{}: {}\n    try: {}\n", f.is_problem ? "" : "(note) ", f.kind,
                        f.evidence, f.advice);
  }
  return text;
}

std::string to_json(const History& h, const std::vector<Finding>& findings) {
  Json epochs = Json::array(), steps = Json::array(), parameters = Json::array();
  Json list = Json::array(), pulses = Json::array(), ratios = Json::array();
  for (const EpochRecord& e : h.epochs) {
    Json line = {{"epoch", e.epoch}, {"step", e.step}, {"train_loss", number(e.train_loss)}};
    if (e.validated) {
      line["validation_loss"] = number(e.validation_loss);
      line["validation_accuracy"] = number(e.validation_score);
    }
    if (!e.terms.empty()) line["terms"] = terms_json(e.terms);
    line["seconds"] = e.seconds;
    line["images_per_second"] = e.images_per_second;
    line["seconds_data_wait"] = e.data_wait_seconds;
    line["seconds_statistics"] = e.statistics_seconds;
    epochs.push_back(std::move(line));
  }
  for (const StepRecord& s : h.steps) {
    steps.push_back({{"step", s.step},
                     {"loss", number(s.loss)},
                     {"learning_rate", number(s.learning_rate)},
                     {"gradient_norm", number(s.gradient_norm)}});
    if (!s.terms.empty()) steps.back()["terms"] = terms_json(s.terms);
  }
  for (const ParameterStatistics& p : parameter_statistics(h)) {
    parameters.push_back({{"name", p.name},
                          {"gradient", number(p.gradient)},
                          {"weight", number(p.weight)},
                          {"update", number(p.update)},
                          {"update_to_weight", number(p.update_to_weight)},
                          {"gradient_to_weight", number(p.gradient_to_weight)},
                          {"signal_to_noise", number(p.signal_to_noise)}});
  }
  for (const StatisticsRecord& r : h.statistics) {
    Json update = Json::array(), gradient = Json::array();
    for (std::size_t i = 0; i < r.update.size(); ++i) {
      update.push_back(r.weight[i] > 0 ? number(r.update[i] / r.weight[i]) : Json());
      gradient.push_back(number(r.gradient[i]));
    }
    ratios.push_back({{"step", r.step}, {"update_to_weight", update}, {"gradient", gradient}});
  }
  for (const PulsePoint& p : h.pulses) {
    Json activations = Json::array(), norms = Json::array();
    for (const inspection::PulseRow& row : p.pulse.activations) {
      activations.push_back({{"path", row.path},
                             {"units", row.units},
                             {"dead", row.dead},
                             {"zero", row.zero_fraction},
                             {"saturated", row.saturated_fraction},
                             {"output_std", number(row.output_std)}});
    }
    for (const inspection::NormDrift& row : p.pulse.norms) {
      norms.push_back({{"path", row.path},
                       {"mean_shift", number(row.mean_shift)},
                       {"log_std_ratio", number(row.log_std_ratio)}});
    }
    pulses.push_back({{"epoch", p.epoch}, {"activations", activations}, {"norms", norms}});
  }
  for (const Finding& f : findings) {
    list.push_back({{"kind", f.kind},
                    {"evidence", f.evidence},
                    {"advice", f.advice},
                    {"is_problem", f.is_problem}});
  }
  Json classes = Json::array();
  for (std::size_t c = 0; c < h.start.classes.size(); ++c) {
    classes.push_back({{"name", h.start.classes[c]}, {"images", h.start.images[c]}});
  }
  return Json{{"model", h.start.model},
              {"score", h.start.score},
              {"batch_size", h.start.batch_size},
              {"learning_rate", h.start.learning_rate},
              {"classes", classes},
              {"parameter_names", h.start.parameters},
              {"gradient_noise_scale", number(gradient_noise_scale(h))},
              {"failure", h.failure},
              {"notes", h.notes},
              {"diagnosis", list},
              {"epochs", epochs},
              {"steps", steps},
              {"parameters", parameters},
              {"statistics", ratios},
              {"pulses", pulses}}
      .dump(2);
}

}  // namespace tapescope::monitoring
