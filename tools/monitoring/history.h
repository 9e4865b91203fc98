// RUN/history.jsonl: a line of JSON per thing that happened in a training.
//
//   {"step":0,"start":{...}}                           once, and again at each --resume
//   {"step":50,"epoch":1,"loss":...}                   every --log-every steps
//   {"step":51,"epoch":1,"statistics":{...}}           norms per parameter, every
//   --statistics-every
//   {"epoch":1,"step":120,"train_loss":...}            at the end of an epoch
//   {"step":120,"epoch":1,"pulse":{...}}               activation functions and batch norms
//   {"step":120,"epoch":1,"watch":[...]}               explanations of the watched images
//   {"step":130,"epoch":2,"failure":"..."}             a loss that was not finite
//
// Steps and epochs have "terms" where the task names some.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/files/append_file.h"
#include "tools/inspection/pulse.h"
#include "tools/training/trainer.h"

namespace tapescope::monitoring {

constexpr int kHistoryVersion = 1;

struct HistoryStart {
  int version = kHistoryVersion;
  std::string model, loss;
  std::string score = "accuracy";                      // what validation_score is
  std::int64_t epochs = 0, steps = 0, batch_size = 0;  // steps of the whole training
  double learning_rate = 0;
  std::vector<std::string> classes;
  std::vector<std::int64_t> images;  // of the training set, by class
  std::int64_t validation_images = 0;
  std::vector<std::string> parameters;  // what statistics run over
};

struct PulsePoint {
  std::int64_t step = 0, epoch = 0;
  inspection::Pulse pulse;
};

// An explanation of a watched image, after an epoch.
struct WatchPoint {
  std::int64_t epoch = 0;
  std::string image, method, target;  // target: the class that is explained
  double probability = 0;             // of the target
  std::string predicted;
  std::string png;  // relative to the run
};

struct History {
  bool has_start = false;
  HistoryStart start;
  std::vector<StepRecord> steps;
  std::vector<StatisticsRecord> statistics;
  std::vector<EpochRecord> epochs;
  std::vector<PulsePoint> pulses;
  std::vector<WatchPoint> watched;
  std::string failure;
  std::vector<std::string> notes;  // sentences: lines that could not be read
};

// Throws a usage error where the run has no history or one of a newer version. A last line that is
// cut short (the training is running, or was killed) becomes a note.
History read_history(const std::filesystem::path& run);

class HistoryWriter {
 public:
  // Goes on after the lines up to `step`, and those of the ends of `epochs`, where `resume`, else
  // starts anew. Throws a failure where the old lines cannot be read or the file cannot be written;
  // later errors of the disk are file().missing(), and are mended when it has room again.
  HistoryWriter(const std::filesystem::path& run, bool resume, std::int64_t step,
                std::int64_t epochs = INT64_MAX);
  // Once a training: at a resume only where the line was lost.
  void add(const HistoryStart& start);
  void add(const StepRecord& record);
  void add(const StatisticsRecord& record);
  void add(const EpochRecord& record);
  void add(const PulsePoint& point);
  void add(std::int64_t step, const std::vector<WatchPoint>& points);
  void add_failure(std::int64_t step, std::int64_t epoch, const std::string& sentence);
  AppendFile& file() { return file_; }

 private:
  AppendFile file_;
  bool has_start_ = false;
};

}  // namespace tapescope::monitoring
