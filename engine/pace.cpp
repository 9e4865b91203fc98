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

Pace::Duration Pace::after(Duration stretch, bool put_aside) {
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
