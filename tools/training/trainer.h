// The training loop: one compiled program per step, whatever the task.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "autograd/program/measure_kernels.h"
#include "layers/optimizers/optimizer.h"
#include "layers/schedules.h"
#include "tools/training/best_epoch.h"
#include "tools/training/profile.h"
#include "tools/training/shared_batch.h"
#include "tools/training/statistics.h"
#include "tools/training/task.h"

namespace tapescope {

// Where a training stands: with the parameters and the optimiser's states, all that is needed to
// continue bit for bit.
struct Progress {
  std::int64_t step = 0;   // steps done
  std::int64_t epoch = 0;  // of the next step
  std::int64_t batch = 0;  // of the next step, within its epoch
  BestEpoch best{};        // of the validations so far
  // Of the running epoch, for its means.
  double loss_sum = 0;
  std::int64_t images = 0;
  std::vector<double> term_sums{};  // of the task's terms; empty: part of the epoch is not in them
};

// A task's term, its mean over the samples of a step or an epoch.
struct NamedNumber {
  std::string name;
  double value = 0;
};

struct StepRecord {
  std::int64_t step = 0, epoch = 0;
  double loss = 0, learning_rate = 0, gradient_norm = 0, images_per_second = 0;
  std::vector<NamedNumber> terms{};
};

struct EpochRecord {
  std::int64_t epoch = 0, step = 0;  // both counted from 1: done
  double train_loss = 0;
  double validation_loss = 0, validation_score = 0;  // where there is a validation set
  bool validated = false;
  double seconds = 0;             // since the epoch began, validation included
  double images_per_second = 0;   // of the training steps
  double data_wait_seconds = 0;   // spent waiting for batches
  double statistics_seconds = 0;  // spent on StatisticsRecords
  bool best = false;
  std::vector<NamedNumber> terms{};  // of the training steps
};

// How many steps of a training are kept in detail.
inline constexpr std::size_t kRecordedSteps = 20;

struct TrainerOptions {
  std::int64_t epochs = 10;
  std::int64_t batch_size = 16;
  std::uint64_t seed = 0;
  int loader_threads = 2;
  std::int64_t log_every = 50;         // steps between StepRecords
  std::int64_t statistics_every = 50;  // steps between StatisticsRecords; 0: none
  std::int64_t checkpoint_every = 0;   // steps between saves; 0: at the end of each epoch only
  Device device;
  KernelChoices kernels;
  Precision precision = DType::f32;  // of steps and validations
  // Pieces of a batch for sums over its rows, a power of two, and who shares it: the bits depend on
  // the former alone (autograd/program/share_batch.h). Null: one process.
  std::int64_t chunks = 1;
  Communicator* ranks = nullptr;
  OptimizerConfig optimizer;
  Schedule schedule;  // its `steps` is set by the trainer
  // After so many epochs `unfrozen`, which are frozen until then, are trained as well: all moments
  // begin anew, and the schedule runs again over the remaining epochs with its peak times
  // `unfreeze_factor` (Howard and Ruder 2018, section 3.3). 0: never.
  std::int64_t unfreeze_after = 0;
  double unfreeze_factor = 0.1;
  std::vector<ParameterRef> unfrozen = {};
  // What a frozen part makes of pictures that no augmentation changes is computed once; the bits
  // are the same.
  bool keep_features = true;
  // The most that what is planned may come to, bytes; 0: no limit (memory_limit.h). No bit of the
  // result depends on it.
  std::size_t memory_limit = 0;
};

// What the trainer reports to; each may be empty.
struct TrainerEvents {
  std::function<void(const std::string&)> note;  // a sentence on what is done
  // Before the step that it is for. Where ranks share it, it is put together for the first
  // kRecordedSteps of a training, and not told later.
  std::function<void(const Batch&)> batch;
  std::function<void(const StepRecord&)> step;
  // After every step: for a line on a terminal. Must take no time.
  std::function<void(const Progress&, double loss, const std::vector<NamedNumber>& terms)> tick;
  std::function<void(const StatisticsRecord&)> statistics;
  std::function<void(const EpochRecord&)> epoch;
  // Keep this state; `best` when the validation just done is the best so far, `epoch_end` when an
  // epoch has just ended.
  std::function<void(const Progress&, bool best, bool epoch_end)> save;
  StepProfile* profile = nullptr;  // looks at steps
  // Asked after every step: true on any rank saves and ends the training.
  std::function<bool()> stop;
};

// Bytes, beside what a step allocates.
struct MemoryBeside {
  std::size_t prefetch = 0;    // batches that the loader prepares meanwhile, features that are kept
  std::size_t statistics = 0;  // parameters as they were before the step
  std::size_t total() const { return prefetch + statistics; }
};

class Trainer {
 public:
  // `validation` may be null. Models and data outlive the trainer. The model moves to
  // options.device and stays there.
  Trainer(const Model& model, const Task& task, std::shared_ptr<const SampleSource> train,
          std::shared_ptr<const SampleSource> validation, TrainerOptions options);
  // Of labelled pictures.
  Trainer(const Model& model, const Task& task, std::shared_ptr<const Dataset> train,
          std::shared_ptr<const Dataset> validation, Pipeline train_pipeline,
          Pipeline test_pipeline, TrainerOptions options);
  ~Trainer();

  // Trains from `progress` on and keeps it up to date. Returns false if stopped early. A loss that
  // is not finite is a failure naming the step and the first node whose value is not finite;
  // nothing is saved after it.
  bool run(Progress& progress, const TrainerEvents& events);

  // What the vectors of StatisticsRecords run over.
  const std::vector<std::string>& statistics_names() const;
  // What a training step allocates, before it is run; what is held beside it; their sum, bytes.
  MemoryPlan plan();
  MemoryBeside beside() const;
  std::size_t planned_bytes() { return plan().total() + beside().total(); }
  // What TrainerOptions::memory_limit led to: memory_told() of memory_limit.h says it.
  Recomputation recomputed() const;
  // The most that was in use during the first epoch's steps.
  std::size_t peak_bytes() const;
  double step_flops();
  // Times the kernels of a step, as measure_kernels does: what it finds is for the options of
  // another trainer, this one is done with.
  KernelMeasurement measure_kernels();
  std::int64_t steps_per_epoch() const;
  Optimizer& optimizer();

 private:
  struct Phase;
  struct Running;
  struct State;
  void tell_batch(const Batch& batch, std::int64_t step, const TrainerEvents& events);
  bool run_epoch(Running& run);
  std::unique_ptr<State> state_;
};

// Loss and score of a model over samples, in their order. The model moves to the device.
std::unique_ptr<Metrics> evaluate(const Model& model, const Task& task,
                                  std::shared_ptr<const SampleSource> data, std::int64_t batch_size,
                                  int loader_threads, const Backend& backend = {});
std::unique_ptr<Metrics> evaluate(const Model& model, const Task& task,
                                  std::shared_ptr<const Dataset> data, const Pipeline& pipeline,
                                  std::int64_t batch_size, int loader_threads,
                                  const Backend& backend = {});

}  // namespace tapescope
