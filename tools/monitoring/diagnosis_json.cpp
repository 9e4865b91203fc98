#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/monitoring/diagnosis.h"

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

Json epochs_json(const History& h) {
  Json epochs = Json::array();
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
  return epochs;
}

Json steps_json(const History& h) {
  Json steps = Json::array();
  for (const StepRecord& s : h.steps) {
    steps.push_back({{"step", s.step},
                     {"loss", number(s.loss)},
                     {"learning_rate", number(s.learning_rate)},
                     {"gradient_norm", number(s.gradient_norm)}});
    if (!s.terms.empty()) steps.back()["terms"] = terms_json(s.terms);
  }
  return steps;
}

Json parameters_json(const History& h) {
  Json parameters = Json::array();
  for (const ParameterStatistics& p : parameter_statistics(h)) {
    parameters.push_back({{"name", p.name},
                          {"gradient", number(p.gradient)},
                          {"weight", number(p.weight)},
                          {"update", number(p.update)},
                          {"update_to_weight", number(p.update_to_weight)},
                          {"gradient_to_weight", number(p.gradient_to_weight)},
                          {"signal_to_noise", number(p.signal_to_noise)}});
  }
  return parameters;
}

Json ratios_json(const History& h) {
  Json ratios = Json::array();
  for (const StatisticsRecord& r : h.statistics) {
    Json update = Json::array(), gradient = Json::array();
    for (std::size_t i = 0; i < r.update.size(); ++i) {
      update.push_back(r.weight[i] > 0 ? number(r.update[i] / r.weight[i]) : Json());
      gradient.push_back(number(r.gradient[i]));
    }
    ratios.push_back({{"step", r.step}, {"update_to_weight", update}, {"gradient", gradient}});
  }
  return ratios;
}

Json pulses_json(const History& h) {
  Json pulses = Json::array();
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
  return pulses;
}

}  // namespace

std::string to_json(const History& h, const std::vector<Finding>& findings) {
  Json list = Json::array();
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
              {"epochs", epochs_json(h)},
              {"steps", steps_json(h)},
              {"parameters", parameters_json(h)},
              {"statistics", ratios_json(h)},
              {"pulses", pulses_json(h)}}
      .dump(2);
}

}  // namespace tapescope::monitoring
