// How long a worker runs at a stretch on a processor that it has to share.
#pragma once

#include <chrono>

namespace tapescope {

// A worker that the system puts aside within a chunk holds up everybody who waits for the job's
// end, for as long as another process's time slice lasts (2 to 4 ms on Linux): with one busy
// neighbour two threads were slower than one. A thread that sleeps before its share is used up is
// not put aside, and its turn comes as soon as it wakes. So a worker that has a neighbour runs for
// at most half as long as it had run when it was put aside, and rests as long again; while nothing
// happens its stretches grow, sooner and sooner, until they have no end.
//
// A neighbour is who puts it aside again and again, for some 50 ms: what comes and goes (a thread
// that makes the next batch ready, the system's own) costs less than rests would.
class Pace {
 public:
  using Duration = std::chrono::nanoseconds;
  using Time = std::chrono::steady_clock::time_point;

  // What to do after a stretch of this length that ends now: how long to rest, 0 where it may go
  // on.
  Duration after(Duration stretch, bool put_aside, Time now);
  bool over(Duration stretch) const { return stretch >= limit_; }
  bool limited() const { return limit_ != Duration::max(); }

 private:
  static constexpr int kOften = 16;  // times, none later than this after the one before
  static constexpr Duration kSoon = std::chrono::milliseconds(15);
  static constexpr Duration kShortest = std::chrono::microseconds(500);
  static constexpr Duration kNoEnd = std::chrono::milliseconds(500);
  static constexpr Duration kLongestRest = std::chrono::milliseconds(4);

  bool has_neighbour(Time now);

  Duration limit_ = Duration::max();
  int calm_ = 0;   // rests since it was put aside
  int times_ = 0;  // that it was put aside, each soon after the other
  Time last_{};    // of them
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
