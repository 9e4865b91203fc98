// A training from its first step to metrics.json, whatever the task.
#pragma once

#include <functional>
#include <memory>

#include "tools/files/folder_lock.h"
#include "tools/monitoring/journal.h"
#include "tools/training/checkpoint.h"
#include "tools/training/config.h"

namespace tapescope::cli {

// What the best checkpoint is worth on the test split.
struct TestResult {
  std::vector<std::pair<std::string, double>> numbers;  // keys of metrics.json
  std::string sentence;
};

struct TrainingRun {
  const TrainConfig& config;
  bool resume = false, plan = false, json = false;
  Model& model;
  Trainer& trainer;
  Device device;
  std::map<std::string, std::string> metadata;  // of the model files
  monitoring::HistoryStart start;
  std::string images_sentence = {};  // "205 training, 87 validation and 36 test images"
  std::unique_ptr<inspection::PulseProbe> probe = nullptr;
  Tensor probe_images = {};
  std::unique_ptr<monitoring::Watch> watch = nullptr;
  std::function<TestResult()> test = {};  // empty: there is no test split
  std::function<void()> begin = {};       // writes what else the run keeps of its start
  std::int64_t training_images = 0;
};

// Keeps others from writing into the run's folder, which is made, and removes what killed trainings
// left there. Throws a usage error that names who writes into it.
std::unique_ptr<FolderLock> lock_run(const std::filesystem::path& folder);
// What is done with a training that is ready to run.
using UseOfRun = std::function<int(TrainingRun&)>;
// How a training is asked for, beside its options.
struct TrainingRequest {
  bool resume = false, plan = false, json = false, allow_outside = false;
  std::string data_changed = "refuse";  // or "accept"
  UseOfRun use = {};  // instead of the training
};
// The options that a run's config.toml holds; `command` is who asks, for errors.
TrainConfig stored_config(const std::filesystem::path& run, const std::string& command);
// Makes a training ready as `train` does, from its data to its trainer, and returns what `use` does
// with it. Nothing is written.
int prepare_training(TrainConfig config, const UseOfRun& use);

// A few samples, evenly over the source.
Tensor probe_images(const SampleSource& samples);

// Runs until it ends, fails or is interrupted, and says how it goes. Returns the exit status.
int run_training(TrainingRun run, monitoring::ProgressLine& out);

// `train` for boxes: what train.cpp calls for --model centre-detector.
int train_detector(TrainConfig& config, const TrainingRequest& request);

}  // namespace tapescope::cli
