// Everything that is kept and told of a training while it runs.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "tools/monitoring/event_file.h"
#include "tools/monitoring/history.h"
#include "tools/monitoring/progress_line.h"
#include "tools/monitoring/watch.h"

namespace tapescope::monitoring {

struct JournalOptions {
  std::filesystem::path run;
  bool resume = false, tensorboard = true;
  std::int64_t first_step = 0, first_epoch = 0;  // epochs that are over
  HistoryStart start;
  // Null: nothing is probed, nothing is watched. `probe_images`: f32 {N,H,W,C}, a few images on
  // which activation functions are measured after epochs.
  std::unique_ptr<inspection::PulseProbe> probe = nullptr;
  Tensor probe_images = {};
  std::unique_ptr<Watch> watch = nullptr;
};

// Writes RUN/history.jsonl, RUN/tensorboard and RUN/watch, and the lines on the terminal. A file
// that cannot be written ends no training: it is said once, and tried again.
class Journal {
 public:
  // The model outlives the journal.
  Journal(JournalOptions options, const Module& model, ProgressLine& out);

  void step(const StepRecord& record);
  // The line on the terminal, at most ten times per second.
  void tick(const Progress& progress, double loss, const std::vector<NamedNumber>& terms);
  void statistics(const StatisticsRecord& record);
  void epoch(const EpochRecord& record);
  void failed(const Progress& progress, const std::string& sentence);
  // Before a checkpoint: what is told of the steps up to it is on the disk.
  void flush();
  // Tries once more what could not be written, and says what stays missing. false: lines of the
  // history are.
  bool finish();

  // Over all epochs so far.
  double seconds() const { return seconds_; }
  double images_per_second() const { return seconds_ > 0 ? images_ / seconds_ : 0; }
  double data_wait_seconds() const { return data_wait_; }
  double statistics_seconds() const { return statistics_; }

 private:
  void pulse(const EpochRecord& record);
  void histograms(std::int64_t step);
  void watch(const EpochRecord& record);
  void mind(AppendFile& file, bool& told);
  void mind_files();
  JournalOptions options_;
  const Module& model_;
  ProgressLine& out_;
  HistoryWriter history_;
  std::optional<EventFile> events_;
  bool history_told_ = false, events_told_ = false;  // that it cannot be written
  std::chrono::steady_clock::time_point began_, shown_;
  double score_ = -1;  // of the last validation
  double seconds_ = 0, images_ = 0, data_wait_ = 0, statistics_ = 0;
};

}  // namespace tapescope::monitoring
