#include <algorithm>
#include <cmath>

#include "layers/losses.h"
#include "tools/training/task.h"

namespace tapescope {

ClassificationMetrics::ClassificationMetrics(std::int64_t classes)
    : confusion_(static_cast<std::size_t>(classes),
                 std::vector<std::int64_t>(static_cast<std::size_t>(classes), 0)) {}

void ClassificationMetrics::add(const Batch& batch, const Tensor& loss, const Tensor& predictions) {
  const auto labels = batch["label"].values<std::int64_t>();
  for (std::size_t n = 0; n < labels.size(); ++n) {
    const auto row =
        predictions.rows(static_cast<std::int64_t>(n), static_cast<std::int64_t>(n) + 1);
    const auto p = row.values<float>();
    const auto predicted =
        static_cast<std::size_t>(std::max_element(p.begin(), p.end()) - p.begin());
    const auto label = static_cast<std::size_t>(labels[n]);
    ++confusion_[label][predicted];
    correct_ += label == predicted;
    loss_ += loss.item(static_cast<std::int64_t>(n));
    ++images_;
  }
}

double ClassificationMetrics::loss() const {
  return images_ > 0 ? loss_ / static_cast<double>(images_) : 0;
}
double ClassificationMetrics::score() const {
  return images_ > 0 ? static_cast<double>(correct_) / static_cast<double>(images_) : 0;
}

std::int64_t ClassificationMetrics::support(std::size_t c) const {
  std::int64_t total = 0;
  for (std::int64_t count : confusion_[c]) total += count;
  return total;
}

double ClassificationMetrics::recall(std::size_t c) const {
  const std::int64_t total = support(c);
  return total > 0 ? static_cast<double>(confusion_[c][c]) / static_cast<double>(total) : 0;
}

double ClassificationMetrics::precision(std::size_t c) const {
  std::int64_t total = 0;
  for (const auto& row : confusion_) total += row[c];
  return total > 0 ? static_cast<double>(confusion_[c][c]) / static_cast<double>(total) : 0;
}

Classification::Classification(const ModelConfig& model, LossConfig loss)
    : model_(model), loss_(std::move(loss)) {
  if (loss_.name != "nll" && loss_.name != "focal") {
    throw usage_error("unknown loss '{}'; known are nll and focal", loss_.name);
  }
}

NamedVars Classification::inputs(Tape& tape, std::int64_t batch_size) const {
  return {{"image", tape.input("image", DType::f32, model_.image().with_leading(batch_size))},
          {"label", tape.input("label", DType::i64, {batch_size})}};
}

Loss Classification::loss(const NamedVars& inputs, const NamedVars& outputs) const {
  const Var logits = outputs.at("logits"), label = inputs.at("label");
  const Tape::Scope in(logits.tape(), "loss");
  // Smoothing is a means of training: evaluations report the plain loss.
  const double smoothing = logits.tape().mode() == Mode::training ? loss_.label_smoothing : 0;
  return {loss_.name == "focal" ? focal_loss(logits, label, loss_.gamma)
                                : cross_entropy(logits, label, smoothing)};
}

Var Classification::predictions(const NamedVars& outputs) const {
  return softmax(outputs.at("logits"));
}

std::vector<NamedTensor> Task::feed(const Batch& batch) const {
  std::vector<NamedTensor> all;
  for (const auto& [name, tensor] : batch.tensors) all.push_back({name, tensor});
  return all;
}

std::vector<double> probabilities_of(const Tensor& logits) {
  std::vector<double> p;
  double largest = logits.item(0), sum = 0;
  for (std::int64_t c = 0; c < logits.elements(); ++c) largest = std::max(largest, logits.item(c));
  for (std::int64_t c = 0; c < logits.elements(); ++c) {
    p.push_back(std::exp(logits.item(c) - largest));
    sum += p.back();
  }
  for (double& value : p) value /= sum;
  return p;
}

std::unique_ptr<Metrics> Classification::metrics() const {
  return std::make_unique<ClassificationMetrics>(model_.classes);
}

}  // namespace tapescope
