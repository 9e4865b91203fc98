#include "tools/tasks/multilabel/label_task.h"

#include <algorithm>
#include <cmath>

namespace tapescope::tasks {

LabelMetrics::LabelMetrics(std::int64_t labels) : answers_(static_cast<std::size_t>(labels)) {}

void LabelMetrics::add(const Batch& batch, const Tensor& loss, const Tensor& predictions) {
  const auto right = batch["labels"].values<float>();
  const auto p = predictions.values<float>();
  const std::size_t labels = answers_.size();
  for (std::int64_t n = 0; n < batch.rows(); ++n) {
    const auto row = static_cast<std::size_t>(n) * labels;
    for (std::size_t k = 0; k < labels; ++k) {
      answers_[k].push_back({p[row + k], right[row + k] > 0.5f});
    }
    loss_ += loss.item(n);
    ++images_;
  }
}

double LabelMetrics::loss() const { return images_ > 0 ? loss_ / static_cast<double>(images_) : 0; }

double LabelMetrics::score() const {
  double sum = 0;
  std::int64_t count = 0;
  for (std::size_t k = 0; k < answers_.size(); ++k) {
    const double ap = average_precision(k);
    if (std::isnan(ap)) continue;
    sum += ap;
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : 0;
}

std::int64_t LabelMetrics::support(std::size_t label) const {
  return std::count_if(answers_[label].begin(), answers_[label].end(),
                       [](const Answer& a) { return a.right; });
}

double LabelMetrics::average_precision(std::size_t label) const {
  const std::int64_t positives = support(label);
  if (positives == 0) return std::nan("");
  std::vector<Answer> sorted = answers_[label];
  std::sort(sorted.begin(), sorted.end(),
            [](const Answer& a, const Answer& b) { return a.probability > b.probability; });
  double area = 0;
  std::int64_t right = 0, before = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    right += sorted[i].right;
    if (i + 1 < sorted.size() && sorted[i + 1].probability == sorted[i].probability) continue;
    area += static_cast<double>(right - before) / static_cast<double>(positives) *
            static_cast<double>(right) / static_cast<double>(i + 1);
    before = right;
  }
  return area;
}

std::pair<std::int64_t, std::int64_t> LabelMetrics::above(std::size_t label,
                                                          double threshold) const {
  std::int64_t right = 0, wrong = 0;
  for (const Answer& a : answers_[label]) {
    if (a.probability >= threshold) ++(a.right ? right : wrong);
  }
  return {right, wrong};
}

double LabelMetrics::precision(std::size_t label, double threshold) const {
  const auto [right, wrong] = above(label, threshold);
  return right > 0 ? static_cast<double>(right) / static_cast<double>(right + wrong) : 0;
}

double LabelMetrics::recall(std::size_t label, double threshold) const {
  const std::int64_t right = above(label, threshold).first;
  return right > 0 ? static_cast<double>(right) / static_cast<double>(support(label)) : 0;
}

double LabelMetrics::f1(std::size_t label, double threshold) const {
  const double p = precision(label, threshold), r = recall(label, threshold);
  return p + r > 0 ? 2 * p * r / (p + r) : 0;
}

NamedVars LabelTask::inputs(Tape& tape, std::int64_t batch_size) const {
  return {{"image", tape.input("image", DType::f32, model_.image().with_leading(batch_size))},
          {"labels", tape.input("labels", DType::f32, {batch_size, model_.classes})}};
}

Loss LabelTask::loss(const NamedVars& inputs, const NamedVars& outputs) const {
  const Tape::Scope in(outputs.at("logits").tape(), "loss");
  const Var each = binary_cross_entropy(outputs.at("logits"), inputs.at("labels"));
  const int labels[] = {1};
  return {reduce_mean(each, labels)};
}

Var LabelTask::predictions(const NamedVars& outputs) const { return sigmoid(outputs.at("logits")); }

std::unique_ptr<Metrics> LabelTask::metrics() const {
  return std::make_unique<LabelMetrics>(model_.classes);
}

std::vector<double> label_probabilities(const Tensor& logits) {
  std::vector<double> p;
  for (float logit : logits.values<float>()) p.push_back(1 / (1 + std::exp(-double{logit})));
  return p;
}

}  // namespace tapescope::tasks
