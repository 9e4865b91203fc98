// How long a worker runs at a stretch on a processor that it has to share.
#pragma once

#include <algorithm>
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
  Duration after(Duration stretch, bool put_aside) {
    if (put_aside) {
      limit_ = std::max(kShortest, std::min(stretch, limit_) / 2);
    } else if (stretch < limit_) {
      return Duration(0);
    } else {
      limit_ += limit_ / 4;
      if (limit_ > kNoEnd) limit_ = Duration::max();
    }
    return std::min(limit_, kLongestRest);
  }
  bool over(Duration stretch) const { return stretch >= limit_; }
  bool limited() const { return limit_ != Duration::max(); }

 private:
  static constexpr Duration kShortest = std::chrono::microseconds(500);
  static constexpr Duration kNoEnd = std::chrono::milliseconds(500);
  static constexpr Duration kLongestRest = std::chrono::milliseconds(4);

  Duration limit_ = Duration::max();
};

}  // namespace tapescope
