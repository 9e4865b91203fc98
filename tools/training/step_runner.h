// Training steps on their way through a device: one is asked for while the one before it still
// runs, and is read a step late. On the CPU a step is done when it was asked for.
#pragma once

#include <deque>

#include "tools/training/profile.h"
#include "tools/training/staging.h"
#include "tools/training/task.h"

namespace tapescope {

struct StartedStep {
  std::int64_t index = 0, epoch = 0;  // counted from 0
  std::int64_t rows = 0, images = 0;  // of its batch: this rank's, and on all ranks
  double rate = 0;
  bool with_statistics = false;
  std::vector<NamedTensor> inputs{};  // where the step reads them: as the batch was fed to it
  std::vector<Tensor> outputs{};
};

class StepRunner {
 public:
  // `shared`: whether ranks share a batch, and steps are told its first row.
  StepRunner(const Task& task, Device device, bool shared);

  // Whether steps can be under way; at most two are.
  bool reads_late() const { return device_.kind != DeviceKind::cpu; }
  std::int64_t under_way() const { return static_cast<std::int64_t>(started_.size()); }

  // The batch on its way to the device, as inputs of `step`, with `number` steps of the optimiser
  // before it: to be given to start().
  StartedStep feed(const Batch& batch, double rate, std::int64_t number);
  // Asks for a step, by the profile where there is one, which then is waited for.
  void start(Program& step, StartedStep started, StepProfile* profile);
  // The outputs of the first that is under way. A loss that is not finite is a failure that names
  // the step and the first node whose value is not finite; whatever was under way changes nothing.
  StartedStep finish();
  // Steps that are under way, of a training that broke off, are waited for and forgotten.
  void abandon();

 private:
  const Task& task_;
  Device device_;
  bool shared_;
  Staging staging_;
  Tensor learning_rate_ = Tensor::scalar(0), step_number_ = Tensor::scalar_i64(0);
  Tensor first_row_ = Tensor::scalar_i64(0);
  std::deque<StartedStep> started_;
  Program* program_ = nullptr;  // of the steps under way
  bool looked_at_ = false;      // by the profile: it is done
};

// Batch normalisation over one value gives zero, whatever the value: nothing is learnt from such a
// batch, and the running variance is told that there is none.
void refuse_single_values(Program& step, std::int64_t images, std::int64_t batch_size);

}  // namespace tapescope
