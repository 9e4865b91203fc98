// A line that a terminal overwrites; elsewhere plain lines, and only the rarer ones.
#pragma once

#include <string>

namespace tapescope::monitoring {

class ProgressLine {
 public:
  ProgressLine();
  // Shown on a terminal until the next call, cut to its width; nowhere else.
  void update(const std::string& text);
  // Stays.
  void line(const std::string& text);

 private:
  bool terminal_;
};

// "[=====>    ]" for a share in [0, 1].
std::string progress_bar(double share, int width = 20);
// "box_loss" as "box loss": names of the history for people.
std::string spaced(std::string name);
// "3:20", "1:05:00"
std::string clock_text(double seconds);

}  // namespace tapescope::monitoring
