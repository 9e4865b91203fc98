#include "tools/training/step_runner.h"

#include "autograd/program/share.h"

namespace tapescope {

StepRunner::StepRunner(const Task& task, Device device, bool shared)
    : task_(task), device_(device), shared_(shared), staging_(device) {}

StartedStep StepRunner::feed(const Batch& batch, double rate, std::int64_t number) {
  learning_rate_.values<float>()[0] = static_cast<float>(rate);
  step_number_.values<std::int64_t>()[0] = number;
  first_row_.values<std::int64_t>()[0] = batch.first_row;
  StartedStep step;
  step.rows = batch.rows();
  step.images = batch.all_rows;
  step.rate = rate;
  step.inputs = task_.feed(batch);
  step.inputs.push_back({"learning_rate", learning_rate_});
  step.inputs.push_back({"step", step_number_});
  if (shared_) step.inputs.push_back({kFirstRow, first_row_});
  step.inputs = staging_.stage(std::move(step.inputs));
  return step;
}

void StepRunner::start(Program& program, StartedStep step, StepProfile* profile) {
  program_ = &program;
  looked_at_ = profile != nullptr;
  if (looked_at_) {
    step.outputs = profile->run(program, step.inputs, step.rows);
  } else {
    program.start(step.inputs);
  }
  staging_.done();
  started_.push_back(std::move(step));
}

StartedStep StepRunner::finish() {
  StartedStep step = std::move(started_.front());
  started_.pop_front();
  if (!looked_at_) step.outputs = program_->finish();
  if (!step.outputs.empty()) return step;
  abandon();
  const std::string wrong = program_->first_non_finite(step.inputs);
  if (wrong.empty()) {
    throw failure(
        "the loss is not finite at step {} of epoch {}, but every value is when the step is taken "
        "again node by node; the parameters and checkpoints are from before this step: "
        "TAPESCOPE_RECORD_RUNS=0 asks a device for each kernel by itself",
        step.index + 1, step.epoch + 1);
  }
  throw failure(
      "the loss is not finite at step {} of epoch {} (learning rate {:.3g}): the first value to go "
      "wrong is that of '{}'; the parameters and checkpoints are from before this step: try a "
      "smaller --lr or --clip-gradient 1",
      step.index + 1, step.epoch + 1, step.rate, wrong);
}

void StepRunner::abandon() {
  started_.clear();
  if (program_ != nullptr) program_->abandon();
}

void refuse_single_values(Program& step, std::int64_t images, std::int64_t batch_size) {
  const std::int64_t last = images % batch_size;
  const std::int64_t smallest =
      images < batch_size || last == 0 ? std::min(images, batch_size) : last;
  if (smallest != 1) return;
  for (const StepInfo& info : step.steps(1)) {
    if (info.op->name() != "batch_norm_training" && info.op->name() != "batch_norm_relu") continue;
    const Shape& x = info.operands[0].shape;
    if (x.elements() != x[x.rank() - 1]) continue;
    throw usage_error(
        "'{}' would normalise a batch of one value per channel: {}; choose another --batch-size, "
        "or "
        "a larger --image-size",
        info.path,
        batch_size == 1 || images == 1
            ? "--batch-size is 1 and the image is 1x1 there"
            : fmt::format("{} training images in batches of {} leave one alone, and the image is "
                          "1x1 there",
                          images, batch_size));
  }
}

}  // namespace tapescope
