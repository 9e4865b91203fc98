#include "engine/emulated_runtime.h"

#include <map>
#include <memory>
#include <mutex>

#include "engine/error.h"

namespace tapescope {
namespace {

thread_local std::unique_ptr<RecordedCalls> recording;

// What CUDA refuses while a stream is captured.
void refuse_while_recording(const char* what) {
  if (recording != nullptr) throw failure("{} cannot be recorded", what);
}

class EmulatedRuntime final : public DeviceRuntime {
 public:
  explicit EmulatedRuntime(DeviceRuntime& host) : host_(host) {}

  std::string description() const override { return "CUDA's execution model on the processor"; }

  void* allocate(std::size_t bytes) override {
    refuse_while_recording("taking memory");
    void* memory = host_.allocate(bytes);
    if (memory == nullptr) return nullptr;
    const std::lock_guard lock(mutex_);
    known_[static_cast<std::byte*>(memory)] = bytes;
    return memory;
  }
  void free(void* memory) override {
    const std::lock_guard lock(mutex_);
    known_.erase(static_cast<std::byte*>(memory));
    host_.free(memory);
  }
  void* allocate_pinned(std::size_t bytes) override { return allocate(bytes); }
  void free_pinned(void* memory) override { free(memory); }

  Queue compute_queue() override { return Queue(Device::emulated()); }
  Queue copy_queue() override { return Queue(Device::emulated()); }
  void copy(void* to, const void* from, std::size_t bytes, const Queue& queue) override {
    if (bytes == 0) return;
    bool waits = false;
    {
      const std::lock_guard lock(mutex_);
      waits = !known(to) || !known(from);
    }
    if (waits) refuse_while_recording("a copy that waits");
    now_or_later([=, this] {
      host_.copy(to, from, bytes, queue);
      count(&EmulatedCalls::copies);
      if (waits) count(&EmulatedCalls::waits);
    });
  }
  void fill_zero(void* memory, std::size_t bytes, const Queue& queue) override {
    now_or_later([=, this] {
      host_.fill_zero(memory, bytes, queue);
      count(&EmulatedCalls::fills);
    });
  }
  void wait(const Queue&) override {
    refuse_while_recording("a wait");
    count(&EmulatedCalls::waits);
  }

  EmulatedCalls calls() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  void* make_event() override { return nullptr; }
  void free_event(void*) override {}
  void record_event(void*, const Queue&) override {}
  void wait_for_event(void*, const Queue&) override {}
  void wait_for_event(void*) override {
    refuse_while_recording("a wait");
    count(&EmulatedCalls::event_waits);
  }
  void begin_recording(const Queue&) override {
    refuse_while_recording("a recording");
    recording = std::make_unique<RecordedCalls>();
    count(&EmulatedCalls::recordings);
  }
  void* end_recording(const Queue&) override { return recording.release(); }
  void free_recording(void* recorded) override { delete static_cast<RecordedCalls*>(recorded); }
  void run_recording(void* recorded, const Queue&) override {
    refuse_while_recording("a recording");
    count(&EmulatedCalls::recorded_runs);
    for (const auto& call : *static_cast<RecordedCalls*>(recorded)) call();
  }
  void now_or_later(std::function<void()> call) {
    if (recording != nullptr) {
      recording->push_back(std::move(call));
    } else {
      call();
    }
  }

  void count(std::size_t EmulatedCalls::*kind) {
    const std::lock_guard lock(mutex_);
    ++(calls_.*kind);
  }
  // Whether it was allocated here, for the device or for copies to it.
  bool known(const void* memory) const {
    const auto* at = static_cast<const std::byte*>(memory);
    auto after = known_.upper_bound(const_cast<std::byte*>(at));
    return after != known_.begin() && at < (--after)->first + after->second;
  }

  DeviceRuntime& host_;
  std::mutex mutex_;
  std::map<std::byte*, std::size_t> known_;
  EmulatedCalls calls_;
};

}  // namespace

RecordedCalls* emulated_recording() { return recording.get(); }

DeviceRuntime& emulated_runtime(DeviceRuntime& host) {
  static auto* const emulated = new EmulatedRuntime(host);  // tensors may be freed at the very end
  return *emulated;
}

EmulatedCalls emulated_calls() {
  return static_cast<EmulatedRuntime&>(DeviceRuntime::of(Device::emulated())).calls();
}

}  // namespace tapescope
