// What a training step does to each parameter. Sums are made on the device; a vector of numbers
// comes back.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tools/training/task.h"

namespace tapescope {

// L2 norms, one per trained parameter, in the model's order.
struct StatisticsRecord {
  std::int64_t step = 0, epoch = 0;  // counted from 1
  std::vector<double> gradient;      // of the batch's mean loss, before clipping
  std::vector<double> weight;        // before the step
  std::vector<double> update;        // of what the step added
  // Of the mean loss of the first `half` of the batch's `batch` samples, with the same parameters:
  // two batch sizes from which the gradient's noise follows (McCandlish et al. 2018, "An empirical
  // model of large-batch training", appendix A.1). Empty for a batch of one. Batch norms see the
  // statistics of the half.
  std::vector<double> half_gradient;
  std::int64_t batch = 0, half = 0;
  double seconds = 0;  // that this record took
};

struct TrainerOptions;

class StepStatistics {
 public:
  // Of `parameters`, trained so. Shares `arena` with the step's Program, and is given the same
  // inputs: those of the recorded paths `cuts` in place of the picture. Takes no more than `most`
  // bytes of the arena.
  StepStatistics(const Model& model, const Task& task, std::span<const ParameterRef> parameters,
                 const TrainerOptions& how, std::shared_ptr<SharedArena> arena,
                 std::span<const std::string> cuts = {}, std::size_t most = SIZE_MAX);
  ~StepStatistics();

  // The names of the parameters that the vectors run over.
  const std::vector<std::string>& names() const;

  // Around a step: `inputs` are what it is about to be run with, on the device; `squares` are
  // the sums of squares of its gradients, one for each name. step and epoch are left to the caller.
  void before(std::span<const NamedTensor> inputs, const Batch& batch);
  StatisticsRecord after(std::span<const double> squares);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tapescope
