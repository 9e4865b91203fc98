// A line that a terminal overwrites; elsewhere plain lines, and only the rarer ones.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace tapescope::monitoring {

class ProgressLine {
 public:
  explicit ProgressLine(bool silent = false);  // silent: nothing is shown
  // Shown on a terminal until the next call, cut to its width; nowhere else.
  void update(const std::string& text);
  // Stays.
  void line(const std::string& text);
  bool terminal() const { return terminal_; }

 private:
  bool silent_, terminal_;
};

// How far a command is that takes long: a bar on a terminal, with the time that is left; elsewhere
// a line now and then, and none of what is over within seconds.
class ProgressBar {
 public:
  // "explaining", of so many.
  ProgressBar(std::string what, std::int64_t total);
  ~ProgressBar();  // takes the bar away
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  void done(std::int64_t count);

 private:
  std::string what_;
  std::int64_t total_;
  ProgressLine out_;
  std::chrono::steady_clock::time_point began_, told_;
};

// "[=====>    ]" for a share in [0, 1].
std::string progress_bar(double share, int width = 20);
// "box_loss" as "box loss": names of the history for people.
std::string spaced(std::string name);
// "3:20", "1:05:00"
std::string clock_text(double seconds);

}  // namespace tapescope::monitoring
