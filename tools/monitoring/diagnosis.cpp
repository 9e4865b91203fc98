#include "tools/monitoring/diagnosis.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <queue>

#include "tools/files/text.h"
#include "tools/monitoring/binomial.h"

namespace tapescope::monitoring {
namespace {

// --- limits, with where they come from -------------------------------------------------------
constexpr double kFrozenUpdate = 1e-5;  // update : weight, a hundredth of the usual 1e-3
constexpr double kWildUpdate = 0.1;     // a weight replaced in ten steps
constexpr double kWildGradient = 1e3;   // global norm; healthy nets start between 0.1 and 100
constexpr double kVanishing = 1e-3;     // first layers' gradient : weight against the last ones'
constexpr double kSpike = 10;           // times the running median
constexpr double kDeadLayer = 0.9, kDeadUnits = 0.3;
constexpr double kSaturatedLayer = 0.5;
constexpr double kStarved = 0.25;        // share of an epoch spent waiting for batches
constexpr double kImbalance = 4;         // largest class : smallest
constexpr double kDrift = 1.0;           // running standard deviations
constexpr double kNothingLearnt = 0.05;  // of the loss it began with
constexpr double kLearnt = 0.45;         // of the accuracy above guessing: a net that has learnt
constexpr double kUnlikely = 0.005;      // a probability: 1 clean training of 200 at the most

double median(std::vector<double> values) {
  std::erase_if(values, [](double v) { return !std::isfinite(v); });
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// The median of what was added so far, as median() gives it, in the time of a heap.
class RunningMedian {
 public:
  void add(double value) {
    if (!std::isfinite(value)) return;
    below_.push(value);
    above_.push(below_.top());
    below_.pop();
    if (above_.size() > below_.size() + 1) {
      below_.push(above_.top());
      above_.pop();
    }
  }
  double value() const { return above_.empty() ? 0 : above_.top(); }

 private:
  std::priority_queue<double> below_;  // the smaller half
  std::priority_queue<double, std::vector<double>, std::greater<double>>
      above_;  // as many, or one more
};

bool is_weight(const std::string& name) { return name.ends_with("weight"); }

// One class per picture is what was learnt: then it is known what guessing gives.
bool classifies(const History& h) { return h.start.score == "accuracy"; }

// Uniform guesses' cross entropy; 0 of other losses.
double chance_loss(const History& h) {
  return h.start.classes.empty() || !classifies(h)
             ? 0
             : std::log(static_cast<double>(h.start.classes.size()));
}

// The share of the largest class: what a constant answer is right in.
double constant_accuracy(const History& h) {
  double total = 0, most = 0;
  for (std::int64_t images : h.start.images) {
    total += static_cast<double>(images);
    most = std::max(most, static_cast<double>(images));
  }
  return total > 0 ? most / total : 1;
}

class Doctor {
 public:
  explicit Doctor(const History& h) : h_(h), rows_(parameter_statistics(h)) {}

  std::vector<Finding> findings() {
    failure();
    gradients();
    learning_rate();
    layers();
    fit();
    loader();
    classes();
    drift();
    noise();
    std::stable_partition(found_.begin(), found_.end(),
                          [](const Finding& f) { return f.is_problem; });
    return std::move(found_);
  }

 private:
  void say(std::string kind, std::string evidence, std::string advice, bool is_problem = true) {
    found_.push_back({std::move(kind), std::move(evidence), std::move(advice), is_problem});
  }
  bool said(std::string_view kind) const {
    return std::any_of(found_.begin(), found_.end(),
                       [&](const Finding& f) { return f.kind == kind; });
  }

  void failure() {
    if (h_.failure.empty()) return;
    say("not-finite",
        fmt::format("the training ended at a loss that is not finite: {}", h_.failure),
        "a smaller --lr, --clip-gradient 1, or a network with normalisation");
  }

  void gradients() {
    std::vector<double> norms;
    for (const StepRecord& step : h_.steps) norms.push_back(step.gradient_norm);
    double largest = 0;
    for (const StatisticsRecord& record : h_.statistics) {
      double squares = 0;
      for (double g : record.gradient) squares += g * g;
      norms.push_back(std::sqrt(squares));
    }
    for (double norm : norms) {
      if (std::isfinite(norm)) largest = std::max(largest, norm);
    }
    if (largest > kWildGradient) {
      say("exploding-gradients",
          fmt::format("the gradient's norm reaches {:.3g}; healthy trainings stay below about 100",
                      largest),
          "a net with normalisation, smaller initial weights, a smaller --lr, --clip-gradient 1");
    } else {
      int spikes = 0;
      int seen = 0;
      RunningMedian before;
      for (const StepRecord& step : h_.steps) {
        if (seen >= 5 && step.gradient_norm > kSpike * before.value()) ++spikes;
        before.add(step.gradient_norm);
        ++seen;
      }
      if (spikes >= 3 && spikes * 20 >= seen) {
        say("gradient-spikes",
            fmt::format("{} of {} recorded gradients are more than {} times the median before them",
                        spikes, seen, kSpike),
            "--clip-gradient 1, or a smaller --lr");
      }
    }
    std::vector<double> ratios;
    std::vector<std::string> names;
    for (const ParameterStatistics& row : rows_) {
      if (!is_weight(row.name) || !(row.weight > 0)) continue;
      ratios.push_back(row.gradient_to_weight);
      names.push_back(row.name);
    }
    if (ratios.size() < 4) return;
    const std::size_t third = std::max<std::size_t>(1, ratios.size() / 3);
    const double first =
        median({ratios.begin(), ratios.begin() + static_cast<std::ptrdiff_t>(third)});
    const double last = median({ratios.end() - static_cast<std::ptrdiff_t>(third), ratios.end()});
    if (last > 0 && first < kVanishing * last) {
      say("vanishing-gradients",
          fmt::format("the first third of the layers has gradients {:.2g} times as large, relative "
                      "to their weights, as the last third ({} to {})",
                      first / last, names.front(), names.back()),
          "normalisation, residual connections, relu in place of tanh or sigmoid");
    }
  }

  void learning_rate() {
    std::vector<double> updates;
    for (const ParameterStatistics& row : rows_) {
      if (is_weight(row.name) && row.weight > 0) updates.push_back(row.update_to_weight);
    }
    const double typical = median(updates);
    const bool diverged = ended_above_start();
    const bool failed = !h_.failure.empty();
    // The steps before a failure, or all of them: a schedule may have brought the rate down since.
    std::vector<double> early;
    for (const StatisticsRecord& record : h_.statistics) {
      std::vector<double> ratios;
      for (std::size_t i = 0; i < record.update.size(); ++i) {
        if (i < h_.start.parameters.size() && is_weight(h_.start.parameters[i]) &&
            record.weight[i] > 0) {
          ratios.push_back(record.update[i] / record.weight[i]);
        }
      }
      early.push_back(median(ratios));
    }
    const double wildest = early.empty() ? 0 : *std::max_element(early.begin(), early.end());
    if (wildest > kWildUpdate || ((diverged || failed) && !said("exploding-gradients"))) {
      say("learning-rate-too-high",
          wildest > kWildUpdate
              ? fmt::format("a step changes the weights by {:.2g} of their size (about 1e-3 is "
                            "usual) at a learning rate of {:.3g}",
                            wildest, h_.start.learning_rate)
              : fmt::format("the loss {} at a learning rate of {:.3g}",
                            failed ? "became infinite or NaN" : "ended above where it began",
                            h_.start.learning_rate),
          fmt::format("--lr {:.2g}", h_.start.learning_rate / 10));
    } else if (!updates.empty() && typical < kFrozenUpdate && learnt_nothing()) {
      say("learning-rate-too-low",
          fmt::format(
              "a step changes the weights by {:.2g} of their size (about 1e-3 is usual) and "
              "the loss fell by {:.1f} % only, at a learning rate of {:.3g}",
              typical, 100 * fall(), h_.start.learning_rate),
          fmt::format("--lr {:.2g} or more", h_.start.learning_rate * 100));
    }
  }

  double first_loss() const {
    return h_.steps.empty() ? (h_.epochs.empty() ? 0 : h_.epochs.front().train_loss)
                            : h_.steps.front().loss;
  }
  double fall() const {
    if (h_.epochs.empty() || !(first_loss() > 0)) return 1;
    return 1 - h_.epochs.back().train_loss / first_loss();
  }
  bool ended_above_start() const {
    return !h_.epochs.empty() && first_loss() > 0 &&
           !(h_.epochs.back().train_loss < 1.05 * std::max(first_loss(), chance_loss(h_)));
  }
  // From the first epoch's mean on: a single batch's loss is mostly chance.
  bool learnt_nothing() const {
    return h_.epochs.size() > 1 && h_.epochs.front().train_loss > 0 &&
           1 - h_.epochs.back().train_loss / h_.epochs.front().train_loss < kNothingLearnt;
  }

  void layers() {
    if (h_.pulses.empty()) return;
    std::int64_t dead = 0, units = 0;
    for (const inspection::PulseRow& row : h_.pulses.back().pulse.activations) {
      if (row.op == "relu") {
        dead += row.dead;
        units += row.units;
      }
      if (row.units > 0 && row.dead >= kDeadLayer * row.units) {
        say("dead-layer",
            fmt::format("'{}' is dead: {} of its {} units answer to no picture", row.path, row.dead,
                        row.units),
            "look at the biases before it, a smaller --lr, leaky_relu; nothing before it can learn "
            "through it");
      }
      if (row.saturated_fraction > kSaturatedLayer) {
        say("saturated",
            fmt::format("'{}' ({}) is saturated in {:.0f} % of its answers: almost no gradient "
                        "passes there",
                        row.path, row.op, 100 * row.saturated_fraction),
            "smaller weights before it, normalisation, relu");
      }
    }
    if (!said("dead-layer") && units > 0 && dead > kDeadUnits * units) {
      say("dead-units",
          fmt::format("{} of {} relu units answer to none of the probed pictures", dead, units),
          "a smaller --lr, or a narrower net");
    }
  }

  void fit() {
    if (h_.epochs.size() < 2) return;
    const EpochRecord& last = h_.epochs.back();
    double best = std::numeric_limits<double>::infinity(), best_score = 0;
    std::int64_t best_epoch = 0;
    for (const EpochRecord& epoch : h_.epochs) {
      if (!epoch.validated) continue;
      best_score = std::max(best_score, epoch.validation_score);
      if (epoch.validation_loss < best) {
        best = epoch.validation_loss;
        best_epoch = epoch.epoch;
      }
    }
    const std::int64_t images = last.validated ? h_.start.validation_images : 0;
    const bool judged = images > 0;
    if (judged && classifies(h_)) small_validation(images, last.validation_score);
    const double chance = constant_accuracy(h_);
    const bool no_better_than_guessing =
        judged && classifies(h_) && as_good_as_a_guess(images, chance, best_score);
    const bool memorised = last.train_loss < 0.5 * chance_loss(h_);
    const bool stuck = last.train_loss > 0.85 * chance_loss(h_);
    if (no_better_than_guessing && (memorised || stuck) && !said("learning-rate-too-low") &&
        h_.failure.empty() && !said("learning-rate-too-high") && !said("dead-layer") &&
        !said("exploding-gradients")) {
      say(memorised ? "labels-unrelated" : "nothing-learnt",
          fmt::format("validation accuracy never rises above {:.1f} % of {} images, where always "
                      "naming the "
                      "most frequent class gives {:.1f} %{}",
                      100 * best_score, images, 100 * chance,
                      memorised ? fmt::format(", while the training loss falls to {:.2f}: the "
                                              "training set is learnt by heart",
                                              last.train_loss)
                                : ""),
          "see whether the labels belong to the pictures (were they shuffled?), and whether the "
          "class can be seen at this --image-size");
      return;
    }
    if (judged && best > 0 && last.validation_loss > 1.25 * best &&
        rises_surely(images, last.validation_loss - best) &&
        last.train_loss < 0.5 * last.validation_loss) {
      say("overfitting",
          fmt::format(
              "the validation loss was least, {:.3f}, after epoch {} and is {:.3f} now, while "
              "the training loss is {:.3f}",
              best, best_epoch, last.validation_loss, last.train_loss),
          "more images, --augment crop-flip, more --weight-decay, a narrower --width; the "
          "checkpoint 'best' goes by the score, not by the loss");
    }
    if (chance_loss(h_) > 0 && last.train_loss > 0.75 * chance_loss(h_) && h_.start.loss == "nll" &&
        !said("learning-rate-too-low") && !said("learning-rate-too-high") && !said("dead-layer") &&
        h_.failure.empty() && !said("exploding-gradients")) {
      say("underfitting",
          fmt::format("the training loss ends at {:.3f}, not far below the {:.3f} of guessing",
                      last.train_loss, chance_loss(h_)),
          "more --epochs, a larger --width or another --model, less augmentation, another --lr");
    }
  }

  // Whether the accuracies over the last half of the training, of this many images, are what
  // guessing gives and not what a net gives that has learnt nearly half of what there is to learn.
  // Few images cannot tell the two apart: then false.
  bool as_good_as_a_guess(std::int64_t images, double chance, double best_score) const {
    std::vector<double> scores;
    for (std::size_t i = h_.epochs.size() / 2; i < h_.epochs.size(); ++i) {
      if (h_.epochs[i].validated) scores.push_back(h_.epochs[i].validation_score);
    }
    const auto right = [&](double score) {
      return std::llround(score * static_cast<double>(images));
    };
    const double learnt = chance + kLearnt * (1 - chance);
    // The best of all epochs has had as many tries.
    const double luck =
        static_cast<double>(h_.epochs.size()) * at_least(right(best_score), images, chance);
    return at_most(right(median(scores)), images, learnt) < kUnlikely && luck > 2 * kUnlikely;
  }

  // Whether a rise of the validation loss is more than the luck of so many images: five standard
  // errors of their mean, of single losses that spread as far as their mean is large. The least of
  // all epochs' losses is lucky already.
  bool rises_surely(std::int64_t images, double rise) const {
    std::vector<double> losses;
    for (const EpochRecord& epoch : h_.epochs) {
      if (epoch.validated) losses.push_back(epoch.validation_loss);
    }
    constexpr std::int64_t kTooFew = 10;
    return images >= kTooFew && rise > 5 * median(losses) / std::sqrt(static_cast<double>(images));
  }

  void small_validation(std::int64_t images, double accuracy) {
    if (images >= kFewImages) return;
    const auto [low, high] =
        interval_of(std::llround(accuracy * static_cast<double>(images)), images);
    say("validation-too-small",
        fmt::format(
            "the validation set of {} image{} is too small to tell: an accuracy of {:.0f} % "
            "on it is one of {:.0f} to {:.0f} % on others",
            images, plural(images), 100 * accuracy, 100 * low, 100 * high),
        "more pictures, a larger --validation-fraction; the checkpoint 'best' is picked by the "
        "mean of many epochs, since so few images cannot tell one from the next",
        false);
  }

  void loader() {
    double waited = 0, seconds = 0;
    for (const EpochRecord& epoch : h_.epochs) {
      waited += epoch.data_wait_seconds;
      seconds += epoch.seconds;
    }
    if (seconds > 0 && waited > kStarved * seconds) {
      say("data-starvation",
          fmt::format("{:.0f} % of the time went by waiting for pictures", 100 * waited / seconds),
          "more --loader-threads, smaller picture files, pictures already of the size that is "
          "used");
    }
  }

  void classes() {
    const auto& images = h_.start.images;
    if (images.size() < 2) return;
    const auto [least, most] = std::minmax_element(images.begin(), images.end());
    if (static_cast<double>(*most) <=
        kImbalance * static_cast<double>(std::max<std::int64_t>(1, *least))) {
      return;
    }
    say("class-imbalance",
        fmt::format("'{}' has {} training {}, '{}' {}",
                    h_.start.classes[static_cast<std::size_t>(most - images.begin())], *most,
                    classifies(h_) ? "images" : "objects",
                    h_.start.classes[static_cast<std::size_t>(least - images.begin())], *least),
        classifies(h_)
            ? "judge by each class's recall (tapescope eval); more pictures of the rare "
              "class, or --loss focal"
            : "judge by each class's AP (tapescope eval); more pictures of the rare class");
  }

  void drift() {
    if (h_.pulses.empty()) return;
    const inspection::NormDrift* worst = nullptr;
    int far = 0;
    for (const inspection::NormDrift& norm : h_.pulses.back().pulse.norms) {
      if (std::max(norm.mean_shift, norm.log_std_ratio) <= kDrift) continue;
      ++far;
      if (worst == nullptr || norm.mean_shift > worst->mean_shift) worst = &norm;
    }
    if (worst == nullptr) return;
    say("batch-norm-drift",
        fmt::format("the running statistics of {} batch norms are far from what pictures bring: at "
                    "'{}' the mean is off by {:.2g} standard deviations",
                    far, worst->path, worst->mean_shift),
        "a larger --batch-size, a smaller --lr at the end (--schedule cosine), more epochs");
  }

  void noise() {
    const double scale = gradient_noise_scale(h_);
    if (!(scale > 0) || h_.start.batch_size == 0) return;
    const auto batch = static_cast<double>(h_.start.batch_size);
    if (scale > 20 * batch) {
      say("noisy-gradients",
          fmt::format("the gradient noise scale is about {:.2g} images; a batch has {}", scale,
                      h_.start.batch_size),
          "a larger --batch-size costs few extra images up to about that size", false);
    }
  }

  const History& h_;
  std::vector<ParameterStatistics> rows_;
  std::vector<Finding> found_;
};

// The records of the last half of the training, at least one.
std::span<const StatisticsRecord> last_half(const History& h) {
  return std::span(h.statistics).subspan(h.statistics.size() / 2);
}

// |G|^2 and tr(S) from norms of the mean gradients of two batch sizes; both unbiased.
struct Noise {
  double signal = 0, noise = 0;
};
Noise noise_of(double large, double small, double batch, double half) {
  const double l = large * large, s = small * small;
  return {(batch * l - half * s) / (batch - half), (s - l) / (1 / half - 1 / batch)};
}

}  // namespace

std::vector<Finding> diagnose(const History& history) { return Doctor(history).findings(); }

double gradient_noise_scale(const History& history) {
  double signal = 0, noise = 0;
  for (const StatisticsRecord& record : last_half(history)) {
    if (record.half == 0 || record.half_gradient.size() != record.gradient.size()) continue;
    for (std::size_t i = 0; i < record.gradient.size(); ++i) {
      const Noise n = noise_of(record.gradient[i], record.half_gradient[i],
                               static_cast<double>(record.batch), static_cast<double>(record.half));
      signal += n.signal;
      noise += n.noise;
    }
  }
  return signal > 0 && noise > 0 ? noise / signal : 0;
}

std::vector<ParameterStatistics> parameter_statistics(const History& history) {
  std::vector<ParameterStatistics> rows;
  for (std::size_t i = 0; i < history.start.parameters.size(); ++i) {
    ParameterStatistics row;
    row.name = history.start.parameters[i];
    std::vector<double> gradient, weight, update, to_weight, gradient_to_weight;
    double signal = 0, noise = 0, batch = 0, count = 0;
    for (const StatisticsRecord& record : last_half(history)) {
      if (i >= record.gradient.size()) continue;
      gradient.push_back(record.gradient[i]);
      weight.push_back(record.weight[i]);
      update.push_back(record.update[i]);
      if (record.weight[i] > 0) {
        to_weight.push_back(record.update[i] / record.weight[i]);
        gradient_to_weight.push_back(record.gradient[i] / record.weight[i]);
      }
      if (record.half > 0 && i < record.half_gradient.size()) {
        const Noise n =
            noise_of(record.gradient[i], record.half_gradient[i], static_cast<double>(record.batch),
                     static_cast<double>(record.half));
        signal += n.signal;
        noise += n.noise;
        batch += static_cast<double>(record.batch);
        ++count;
      }
    }
    row.gradient = median(gradient);
    row.weight = median(weight);
    row.update = median(update);
    row.update_to_weight = median(to_weight);
    row.gradient_to_weight = median(gradient_to_weight);
    if (signal > 0 && noise > 0 && count > 0) {
      row.signal_to_noise = std::sqrt(signal * (batch / count) / noise);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace tapescope::monitoring
