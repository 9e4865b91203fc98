// Time spent in calls.
#pragma once

#include <chrono>

namespace tapescope {

// Adds the time from here to the end of the scope to `total`, in seconds.
class Stopwatch {
 public:
  explicit Stopwatch(double& total) : total_(total) {}
  ~Stopwatch() { total_ += std::chrono::duration<double>(Clock::now() - began_).count(); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double& total_;
  Clock::time_point began_ = Clock::now();
};

}  // namespace tapescope
