// What is learnt: inputs, loss, predictions and how they are scored. The trainer knows nothing else
// about a task.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "autograd/program/program.h"
#include "layers/module.h"
#include "tools/data/loader.h"

namespace tapescope {

// Adds up what an evaluation sees.
class Metrics {
 public:
  virtual ~Metrics() = default;
  // loss f32 {N} and the task's predictions for one batch.
  virtual void add(const Batch& batch, const Tensor& loss, const Tensor& predictions) = 0;
  virtual double loss() const = 0;   // mean over the samples
  virtual double score() const = 0;  // 0 to 1: what picks the best checkpoint
};

// Something of a step worth telling beside its loss: {N}, one value per sample.
struct Term {
  std::string name;  // "box_loss"
  Var samples;
};

struct Loss {
  Var samples;                // {N}: one value per sample; the mean is what is made small
  std::vector<Term> terms{};  // parts of it, counts; they change no bit of the training
};

class Task {
 public:
  virtual ~Task() = default;
  virtual std::string_view score_name() const = 0;  // "accuracy"
  // Records the task's inputs, symbolic, for batches of this many samples.
  virtual NamedVars inputs(Tape& tape, std::int64_t batch_size) const = 0;
  virtual Loss loss(const NamedVars& inputs, const NamedVars& outputs) const = 0;
  virtual Var predictions(const NamedVars& outputs) const = 0;
  // A batch as the inputs above: its tensors under their names.
  virtual std::vector<NamedTensor> feed(const Batch& batch) const;
  virtual std::unique_ptr<Metrics> metrics() const = 0;
};

// Softmax of logits {1,C}, on the host.
std::vector<double> probabilities_of(const Tensor& logits);

struct LossConfig {
  std::string name = "nll";    // "nll" (cross entropy) or "focal"
  double label_smoothing = 0;  // nll only
  double gamma = 2;            // focal only
};

// One class per image. Predictions are probabilities {N, C}.
class ClassificationMetrics final : public Metrics {
 public:
  explicit ClassificationMetrics(std::int64_t classes);
  void add(const Batch& batch, const Tensor& loss, const Tensor& predictions) override;
  double loss() const override;
  double score() const override;  // accuracy
  std::int64_t images() const { return images_; }
  // [label][predicted]
  const std::vector<std::vector<std::int64_t>>& confusion() const { return confusion_; }
  // Of the images predicted to be c, and of the images that are c, the share that is right; 0 where
  // there are none.
  double precision(std::size_t c) const;
  double recall(std::size_t c) const;
  std::int64_t support(std::size_t c) const;

 private:
  double loss_ = 0;
  std::int64_t images_ = 0, correct_ = 0;
  std::vector<std::vector<std::int64_t>> confusion_;
};

class Classification final : public Task {
 public:
  // Images as the model's configuration has them.
  Classification(const ModelConfig& model, LossConfig loss);
  std::string_view score_name() const override { return "accuracy"; }
  NamedVars inputs(Tape& tape, std::int64_t batch_size) const override;
  Loss loss(const NamedVars& inputs, const NamedVars& outputs) const override;
  Var predictions(const NamedVars& outputs) const override;
  std::unique_ptr<Metrics> metrics() const override;

 private:
  ModelConfig model_;
  LossConfig loss_;
};

}  // namespace tapescope
