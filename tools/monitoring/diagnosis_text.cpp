#include <algorithm>
#include <cmath>
#include <limits>

#include "tools/monitoring/diagnosis.h"
#include "tools/monitoring/progress_line.h"

namespace tapescope::monitoring {
namespace {

constexpr std::size_t kEpochsShown = 10, kParametersShown = 8;

std::string diagnosis_text(const std::vector<Finding>& findings) {
  std::string text;
  const auto is_problem = [](const Finding& f) { return f.is_problem; };
  if (std::none_of(findings.begin(), findings.end(), is_problem)) {
    text += "diagnosis: nothing wrong that the history shows\n";
  } else {
    text += "diagnosis\n";
  }
  for (const Finding& f : findings) {
    text += fmt::format("  {}{}: {}\n    try: {}\n", f.is_problem ? "" : "(note) ", f.kind,
                        f.evidence, f.advice);
  }
  return text;
}

std::string epochs_text(const History& h, bool all) {
  const std::vector<NamedNumber>& terms = h.epochs.back().terms;
  std::string text = fmt::format("{:>6} {:>11}", "epoch", "train loss");
  for (const NamedNumber& term : terms) text += fmt::format(" {:>13}", spaced(term.name));
  text += fmt::format(" {:>9} {:>9} {:>9} {:>8} {:>10}\n", "val. loss",
                      h.start.score == "accuracy" ? "val. acc." : "val. " + h.start.score,
                      "images/s", "waiting", "statistics");
  // All of a short training; of a long one about ten, the last among them.
  const std::size_t every = all ? 1 : (h.epochs.size() + kEpochsShown - 1) / kEpochsShown;
  for (std::size_t i = 0; i < h.epochs.size(); ++i) {
    const EpochRecord& e = h.epochs[i];
    if (i % every != 0 && i + 1 != h.epochs.size()) continue;
    const double share = e.seconds > 0 ? 100 / e.seconds : 0;
    text += fmt::format("{:>6} {:>11.4f}", e.epoch, e.train_loss);
    for (std::size_t k = 0; k < terms.size(); ++k) {
      text +=
          fmt::format(" {:>13}", k < e.terms.size() ? fmt::format("{:.4g}", e.terms[k].value) : "");
    }
    text +=
        fmt::format(" {:>9} {:>9} {:>9.0f} {:>7.1f}% {:>9.2f}%\n",
                    e.validated ? fmt::format("{:.4f}", e.validation_loss) : "",
                    e.validated ? fmt::format("{:.2f} %", 100 * e.validation_score) : "",
                    e.images_per_second, e.data_wait_seconds * share, e.statistics_seconds * share);
  }
  return text;
}

// How far a step's change is from what is usual, in powers of ten; a parameter that never changes
// is farthest.
double oddness(const ParameterStatistics& row) {
  constexpr double kUsual = 1e-3;
  if (!(row.weight > 0)) return 0;  // zeros, such as biases at the start: no ratio
  if (!(row.update_to_weight > 0)) return std::numeric_limits<double>::infinity();
  return std::fabs(std::log10(row.update_to_weight / kUsual));
}

std::string parameters_text(const History& h, std::vector<ParameterStatistics> rows, bool all) {
  const std::size_t count = rows.size();
  if (!all && count > kParametersShown) {
    std::vector<std::pair<double, std::size_t>> order;
    for (std::size_t i = 0; i < count; ++i) order.emplace_back(-oddness(rows[i]), i);
    std::sort(order.begin(), order.end());
    std::vector<std::size_t> kept;
    for (std::size_t i = 0; i < kParametersShown; ++i) kept.push_back(order[i].second);
    std::sort(kept.begin(), kept.end());  // as the net has them
    std::vector<ParameterStatistics> shown;
    for (std::size_t i : kept) shown.push_back(rows[i]);
    rows = std::move(shown);
  }
  std::size_t width = 9;
  for (const ParameterStatistics& row : rows) width = std::max(width, row.name.size());
  std::string text = fmt::format("{:<{}} {:>9} {:>9} {:>10} {:>11} {:>11}\n", "parameter", width,
                                 "gradient", "weight", "upd:weight", "grad:weight", "signal");
  for (const ParameterStatistics& row : rows) {
    text += fmt::format(
        "{:<{}} {:>9.3g} {:>9.3g} {:>10.2g} {:>11.2g} {:>11}\n", row.name, width, row.gradient,
        row.weight, row.update_to_weight, row.gradient_to_weight,
        row.signal_to_noise > 0 ? fmt::format("{:.2f}", row.signal_to_noise) : "below noise");
  }
  text +=
      fmt::format("(medians of the last half's {} records; signal: of the gradient to its noise",
                  h.statistics.size() - h.statistics.size() / 2);
  if (rows.size() < count) {
    text += fmt::format(
        ";\n the {} of {} parameters whose update:weight is farthest from 1e-3, --all lists the "
        "rest",
        rows.size(), count);
  }
  text += ")\n";
  if (const double scale = gradient_noise_scale(h); scale > 0) {
    text += fmt::format("gradient noise scale: about {:.3g} images\n", scale);
  }
  return text;
}

}  // namespace

std::string to_text(const History& h, const std::vector<Finding>& findings, bool all) {
  std::string text;
  for (const std::string& note : h.notes) text += note + '\n';
  if (h.has_start) {
    text +=
        fmt::format("{}, {} epochs of {} steps, batch {}, learning rate {:.3g}\n\n", h.start.model,
                    h.start.epochs, h.start.epochs > 0 ? h.start.steps / h.start.epochs : 0,
                    h.start.batch_size, h.start.learning_rate);
  }
  text += diagnosis_text(findings);
  if (!h.epochs.empty()) text += '\n' + epochs_text(h, all);
  std::vector<ParameterStatistics> rows = parameter_statistics(h);
  if (!rows.empty() && !h.statistics.empty()) {
    text += '\n' + parameters_text(h, std::move(rows), all);
  }
  return text;
}

}  // namespace tapescope::monitoring
