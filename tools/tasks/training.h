// A training from its options to metrics.json, whatever the task.
#pragma once

#include <memory>

#include "tools/files/folder_lock.h"
#include "tools/monitoring/history.h"
#include "tools/monitoring/progress_line.h"
#include "tools/tasks/training_setup.h"
#include "tools/training/config.h"

namespace tapescope::tasks {

// A training that is ready to run; nothing was written yet.
struct PreparedTraining {
  PreparedTraining(TrainConfig options, TrainingSetup parts)
      : config(std::move(options)),
        setup(std::move(parts)),
        trainer(*setup.model, *setup.task, setup.train, setup.validation, setup.options) {}
  int profile = 0;           // see TrainingRequest
  std::string kernels = {};  // what RUN/kernels.json is to be; empty: there is none, or it is there
  TrainConfig config;
  TrainingSetup setup;
  Trainer trainer;
  monitoring::HistoryStart start;
};
std::unique_ptr<PreparedTraining> prepare_training(TrainConfig config,
                                                   const TrainingRequest& request,
                                                   monitoring::ProgressLine& out);

// Keeps others from writing into the run's folder, which is made, and removes what killed trainings
// left there. Throws a usage error that names who writes into it.
std::unique_ptr<FolderLock> lock_run(const std::filesystem::path& folder);

// What a step needs and how long the training will take, as text and JSON. The model is another
// one afterwards.
struct TrainingPlan {
  std::string text, json;
};
TrainingPlan plan_of(PreparedTraining& training);

struct TrainingEnd {
  int status = 0;       // 0; 130 where it was stopped; 1 where the history is not complete
  std::string metrics;  // JSON, as in metrics.json; empty where it was stopped
};
// Runs until it ends, fails or `stop` is true, and says how it goes.
TrainingEnd run_training(PreparedTraining& training, bool resume, const std::function<bool()>& stop,
                         monitoring::ProgressLine& out);

}  // namespace tapescope::tasks
