// The emulator as a device: its memory is the host's, work is done when a call returns. What it is
// asked for is counted, in the words of a GPU, so that tests can hold a training step to it.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "engine/runtime.h"

namespace tapescope {

struct EmulatedCalls {
  std::size_t copies = 0;  // that a GPU's queue takes
  std::size_t fills = 0;
  // How often the host would wait for a GPU to be done: asked to, or since a copy's other end is
  // memory that a GPU cannot copy from by itself.
  std::size_t waits = 0;
  std::size_t event_waits = 0;  // for one point of a queue
  std::size_t recordings = 0;   // of work, and how often one was run
  std::size_t recorded_runs = 0;
};
// Since the program began.
EmulatedCalls emulated_calls();

// Where the calling thread records work (RecordedWork), what it has asked for so far; null where it
// does not. Kernels are added to it in place of being run.
using RecordedCalls = std::vector<std::function<void()>>;
RecordedCalls* emulated_recording();

// `host` gives the memory.
DeviceRuntime& emulated_runtime(DeviceRuntime& host);

}  // namespace tapescope
