#include "engine/pace.h"

#include <sys/resource.h>
#include <time.h>

#include <algorithm>

namespace tapescope {
namespace {

Pace::Duration processor_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}
long involuntary_switches() {
  rusage used{};
  getrusage(RUSAGE_THREAD, &used);
  return used.ru_nivcsw;
}

}  // namespace

bool Pace::has_neighbour(Time now) {
  times_ = now - last_ > kSoon ? 1 : times_ + 1;
  last_ = now;
  return times_ >= kOften;
}

Pace::Duration Pace::after(Duration stretch, bool put_aside, Time now) {
  if (put_aside) {
    if (!has_neighbour(now) && !limited()) return Duration(0);
    limit_ = std::max(kShortest, std::min(stretch, limit_) / 2);
    calm_ = 0;
  } else if (stretch < limit_) {
    return Duration(0);
  } else {
    // By a quarter while the neighbour may still be there, twofold when it would have come back.
    limit_ += ++calm_ <= 4 ? limit_ / 4 : limit_;
    if (limit_ > kNoEnd) limit_ = Duration::max();
  }
  return std::min(limit_, kLongestRest);
}

void Lookout::begin() {
  began_ = std::chrono::steady_clock::now();
  ran_ = processor_time();
  switches_ = involuntary_switches();
}

Pace::Duration Lookout::taken() {
  if (involuntary_switches() == switches_) return Pace::Duration(0);
  const Lookout before = *this;
  begin();
  return (began_ - before.began_) - (ran_ - before.ran_);
}

}  // namespace tapescope
