// For tests of the emulator: what a launch says, and the order of threads that was set before.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "kernels/common/gpu.h"

namespace tapescope::emulated {

inline const Queue kQueue{Device::emulated()};

// What f throws, or "".
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Under ThreadSanitizer every CUDA thread is a thread: who waits for ever is told after a while
// only, and memory has no second view. What is reported is seen in the other builds.
#if defined(__SANITIZE_THREAD__)
#define TAPESCOPE_NEEDS_FIBERS() GTEST_SKIP() << "not under ThreadSanitizer"
#else
#define TAPESCOPE_NEEDS_FIBERS()
#endif

class KeepsSchedule : public testing::Test {
 protected:
  void TearDown() override { emulator::set_schedule(before_); }
  emulator::Schedule before_ = emulator::schedule();
};

}  // namespace tapescope::emulated
