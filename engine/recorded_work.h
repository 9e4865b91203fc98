// A device's work, recorded.
#pragma once

#include "engine/runtime.h"
#include "engine/thread_pool.h"

namespace tapescope {

// Work of a queue, asked for once and then run as a whole, with the addresses that it was asked for
// with (on a GPU: a CUDA graph). Not on the CPU.
class RecordedWork {
 public:
  // What this thread asks of `queue` within `work`, none of which is done now. A failure where it
  // waits, takes memory, or copies from or to pageable memory of the host.
  RecordedWork(DeviceRuntime& runtime, const Queue& queue, FunctionRef<void()> work);
  ~RecordedWork() { runtime_->free_recording(recording_); }
  RecordedWork(const RecordedWork&) = delete;
  RecordedWork& operator=(const RecordedWork&) = delete;

  void run(const Queue& queue) const { runtime_->run_recording(recording_, queue); }

 private:
  DeviceRuntime* runtime_;
  void* recording_ = nullptr;
};

}  // namespace tapescope
