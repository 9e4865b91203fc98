// Any number of labels per picture, as the trainer sees them.
#pragma once

#include "tools/training/task.h"

namespace tapescope::tasks {

// Of every label on its own, and of their mean.
class LabelMetrics final : public Metrics {
 public:
  explicit LabelMetrics(std::int64_t labels);
  // Predictions are probabilities {N,K}; "labels" of the batch says what is right.
  void add(const Batch& batch, const Tensor& loss, const Tensor& predictions) override;
  double loss() const override;
  double score() const override;  // mean average precision over the labels that occur
  std::int64_t images() const { return images_; }
  std::int64_t support(std::size_t label) const;  // pictures that have it
  // The area under the steps of precision over recall, equal probabilities taken at once; NaN for a
  // label that no picture has.
  double average_precision(std::size_t label) const;
  // Of the pictures with a probability of at least `threshold`, and of those that have the label,
  // the share that is right; 0 where there are none.
  double precision(std::size_t label, double threshold = 0.5) const;
  double recall(std::size_t label, double threshold = 0.5) const;
  double f1(std::size_t label, double threshold = 0.5) const;  // their harmonic mean

  struct Answer {
    float probability = 0;
    bool right = false;  // the picture has the label
  };
  // In the order of the pictures.
  const std::vector<Answer>& answers(std::size_t label) const { return answers_[label]; }

 private:
  // How many with at least this probability are right, and how many are not.
  std::pair<std::int64_t, std::int64_t> above(std::size_t label, double threshold) const;

  double loss_ = 0;
  std::int64_t images_ = 0;
  std::vector<std::vector<Answer>> answers_;
};

// The loss is the mean over the labels of binary cross entropy.
class LabelTask final : public Task {
 public:
  explicit LabelTask(ModelConfig model) : model_(std::move(model)) {}
  std::string_view score_name() const override { return "mAP"; }
  NamedVars inputs(Tape& tape, std::int64_t batch_size) const override;
  Loss loss(const NamedVars& inputs, const NamedVars& outputs) const override;
  Var predictions(const NamedVars& outputs) const override;
  std::unique_ptr<Metrics> metrics() const override;

 private:
  ModelConfig model_;
};

// Sigmoid of logits {1,K}, on the host.
std::vector<double> label_probabilities(const Tensor& logits);

}  // namespace tapescope::tasks
