// The order in which a device does its work.
#pragma once

#include "engine/device.h"

namespace tapescope {

// Kernels are given a Queue and never wait. On the CPU work is done before the call returns; on a
// GPU a queue is a stream, whose native handle the kernels know how to read.
class Queue {
 public:
  explicit Queue(Device device, void* native = nullptr) : device_(device), native_(native) {}
  Device device() const { return device_; }
  void* native() const { return native_; }

 private:
  Device device_;
  void* native_;
};

}  // namespace tapescope
