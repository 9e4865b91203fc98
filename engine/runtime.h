// What the engine asks of a device: memory, copies, and the order of work.
#pragma once

#include <cstddef>
#include <string>

#include "engine/device.h"
#include "engine/queue.h"

namespace tapescope {

// Implemented for the CPU and the emulator here, for CUDA in the CUDA library (kernels/cuda).
// Everything throws a failure that names what the device said.
class DeviceRuntime {
 public:
  // Throws a usage error where the device cannot be had.
  static DeviceRuntime& of(Device device);
  virtual ~DeviceRuntime() = default;

  // "NVIDIA H200, sm_90, 139 GiB"
  virtual std::string description() const = 0;

  // Memory of the device, aligned to 64 at least; null where there is no more.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void free(void* memory) = 0;
  // Host memory that a device can copy from while both work on.
  virtual void* allocate_pinned(std::size_t bytes) = 0;
  virtual void free_pinned(void* memory) = 0;

  // The queue that kernels run on, and one for copies beside it.
  virtual Queue compute_queue() = 0;
  virtual Queue copy_queue() = 0;

  // Copies in the queue's order, between any of host and device. From or to pageable host memory it
  // has ended when the call returns.
  virtual void copy(void* to, const void* from, std::size_t bytes, const Queue& queue) = 0;
  virtual void fill_zero(void* memory, std::size_t bytes, const Queue& queue) = 0;
  // Waits until all of the queue's work is done.
  virtual void wait(const Queue& queue) = 0;

 protected:  // what an Event and RecordedWork are made of
  friend class Event;
  friend class RecordedWork;
  virtual void begin_recording(const Queue& queue) = 0;
  virtual void* end_recording(const Queue& queue) = 0;  // null where it failed
  virtual void free_recording(void* recording) = 0;
  virtual void run_recording(void* recording, const Queue& queue) = 0;
  virtual void* make_event() = 0;
  virtual void free_event(void* event) = 0;
  virtual void record_event(void* event, const Queue& queue) = 0;
  virtual void wait_for_event(void* event, const Queue& queue) = 0;
  virtual void wait_for_event(void* event) = 0;
};

// A point in a queue that others wait for: made once, recorded as often as wanted. One that was
// never recorded counts as reached.
class Event {
 public:
  explicit Event(DeviceRuntime& runtime) : runtime_(&runtime), event_(runtime.make_event()) {}
  ~Event() { runtime_->free_event(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(const Queue& queue) { runtime_->record_event(event_, queue); }
  void hold(const Queue& queue) const { runtime_->wait_for_event(event_, queue); }  // not the host
  void wait() const { runtime_->wait_for_event(event_); }                           // the host

 private:
  DeviceRuntime* runtime_;
  void* event_;
};

}  // namespace tapescope
