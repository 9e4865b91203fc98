// How long a worker runs at a stretch on a processor that it has to share.
#pragma once

#include <chrono>

namespace tapescope {

// A worker that the system puts aside within a chunk holds up everybody who waits for the job's
// end, for as long as another process's time slice lasts (2 to 4 ms on Linux): with one busy
// neighbour two threads were slower than one. A thread that sleeps before its share is used up is
// not put aside, and its turn comes as soon as it wakes. So a worker that was put aside runs for at
// most half as long as it had run then and rests as long again; while nothing happens its stretches
// grow, until they have no end.
class Pace {
 public:
  using Duration = std::chrono::nanoseconds;

  // What to do after a stretch of this length: how long to rest, 0 where it may go on.
  Duration after(Duration stretch, bool put_aside);
  bool over(Duration stretch) const { return stretch >= limit_; }
  bool limited() const { return limit_ != Duration::max(); }

 private:
  static constexpr Duration kShortest = std::chrono::microseconds(500);
  static constexpr Duration kNoEnd = std::chrono::milliseconds(500);
  static constexpr Duration kLongestRest = std::chrono::milliseconds(4);

  Duration limit_ = Duration::max();
};

// How long this thread was put aside for others.
class Lookout {
 public:
  // From here on; to be called after a sleep of its own will.
  void begin();
  // What was taken since the last look.
  Pace::Duration taken();

 private:
  std::chrono::steady_clock::time_point began_;
  Pace::Duration ran_{};
  long switches_ = 0;  // that it did not ask for
};

}  // namespace tapescope
