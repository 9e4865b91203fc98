// All of a training that depends on its task.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/data/picture_cache.h"
#include "tools/monitoring/watch.h"
#include "tools/training/config.h"
#include "tools/training/trainer.h"

namespace tapescope::tasks {

// How a training is asked for, beside its options.
struct TrainingRequest {
  bool resume = false;
  std::string data_changed = "refuse";  // or "accept"
  int profile = 0;                      // steps that are looked at node by node
  bool measure = false;                 // kernels may be timed, where --kernel measured wants it
  Communicator* ranks = nullptr;        // that share each batch; this process is one of them
};

// Whether a training goes on that `config.out` holds; where it holds none, resuming will say so.
bool goes_on(const TrainConfig& config, const TrainingRequest& request);

// Says what changed in the data since the training began; a usage error unless that was accepted.
void expect_accepted(const std::vector<std::string>& changes, const TrainConfig& config,
                     const TrainingRequest& request);

// Where the pictures of a training are kept between epochs, as --cache says; null: nowhere, as for
// a run whose folder is not there yet (--plan).
std::shared_ptr<PictureRoom> picture_room(const TrainConfig& config);
// What is said of it: so many bytes are to be kept there.
std::string room_sentence(const TrainConfig& config, const PictureRoom& room, std::int64_t bytes);

// What the best checkpoint is worth on the test split.
struct TestResult {
  std::vector<std::pair<std::string, double>> numbers;  // keys of metrics.json
  std::string sentence;                                 // may be empty
};

struct TrainingSetup {
  std::unique_ptr<Model> model;
  std::unique_ptr<Task> task;
  std::shared_ptr<const SampleSource> train, validation;  // validation may be null
  std::shared_ptr<const SampleSource> probed;             // without augmentation
  TrainerOptions options;
  Shape image;                                  // {H,W,C}
  std::map<std::string, std::string> metadata;  // of the model files
  std::string loss;                             // "nll"
  std::vector<std::string> classes;
  std::vector<std::string> head = {};        // globs of what gives the outputs; {}: head_of()
  std::vector<std::int64_t> per_class = {};  // training examples of each
  std::string images_sentence = {};          // "205 training, 87 validation and 36 test images"
  std::vector<std::string> notices = {};     // what was chosen
  std::function<void()> begin = {};          // writes what else the run keeps of its start
  std::function<TestResult()> test = {};     // reads the run's best checkpoint
  std::optional<ClassLogits> watched = {};   // nothing: --watch-images is not of this task
};

}  // namespace tapescope::tasks
