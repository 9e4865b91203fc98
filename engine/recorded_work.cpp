#include "engine/recorded_work.h"

#include "engine/error.h"

namespace tapescope {

RecordedWork::RecordedWork(DeviceRuntime& runtime, const Queue& queue, FunctionRef<void()> work)
    : runtime_(&runtime) {
  runtime.begin_recording(queue);
  try {
    work();
  } catch (...) {
    try {
      runtime.free_recording(runtime.end_recording(queue));
    } catch (const Error&) {  // the first failure says more
    }
    throw;
  }
  recording_ = runtime.end_recording(queue);
}

}  // namespace tapescope
