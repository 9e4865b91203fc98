// Batches on their way to a device: the next one is copied while the device works on this one.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "autograd/program/program.h"
#include "engine/runtime.h"

namespace tapescope {

// Two slots of pinned host memory and of device memory, used in turn. On the CPU batches pass
// through untouched.
class Staging {
 public:
  explicit Staging(Device device);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // The same tensors on the device. Copies are asked for, not waited for: whatever is put in the
  // compute queue after this call sees them. They, and their names, are good until the call after
  // the next.
  std::vector<NamedTensor> stage(std::vector<NamedTensor> inputs);
  // The work that reads the last staged tensors is in the compute queue now.
  void done();

 private:
  struct Buffer {
    void* pinned = nullptr;
    std::size_t capacity = 0;
    Tensor device;
  };
  struct Slot {
    std::map<std::string, Buffer, std::less<>> buffers;  // by input
    Event copied;                                        // the copies into this slot have ended
    Event used;                                          // the work that read it has ended
    explicit Slot(DeviceRuntime& runtime) : copied(runtime), used(runtime) {}
  };
  Device device_;
  DeviceRuntime& runtime_;
  std::array<Slot, 2> slots_;
  std::size_t current_ = 0;
};

}  // namespace tapescope
