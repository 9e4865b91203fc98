// Waiting for what comes from elsewhere: no longer than a time-out, and for others' sake not always
// awake.
#pragma once

#include <sched.h>

#include <chrono>
#include <thread>

namespace tapescope {

// Asks until done() says yes, or until `seconds` were waited: looks, then yields, then sleeps. Only
// what was slept counts, a little at a time: time in which this process itself was stopped is
// nobody's silence. False after the time-out.
template <class Done>
bool wait_patiently(double seconds, Done done) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::duration<double> kSlice(50e-6), kMost(0.1);
  const auto look_until = Clock::now() + std::chrono::milliseconds(2);
  std::chrono::duration<double> slept(0);
  for (int look = 0; !done(); ++look) {
    if (look < 64) continue;
    if (Clock::now() < look_until) {
      ::sched_yield();
      continue;
    }
    if (slept.count() > seconds) return false;
    const auto began = Clock::now();
    std::this_thread::sleep_for(kSlice);
    const std::chrono::duration<double> took = Clock::now() - began;
    slept += took < kMost ? took : kMost;
  }
  return true;
}

}  // namespace tapescope
