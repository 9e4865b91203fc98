#include "engine/runtime.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "engine/cuda_library.h"
#include "engine/emulated_runtime.h"
#include "engine/error.h"

namespace tapescope {
namespace {

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Work is done when a call returns, so there is nothing to wait for.
class HostRuntime final : public DeviceRuntime {
 public:
  std::string description() const override { return "this machine's processor"; }

  void* allocate(std::size_t bytes) override {
    // Large blocks start on a huge page: the first touch of a 51 MB tensor in 4 KiB pages costs
    // more than a ReLU over it.
    const bool large = bytes >= kHugePage;
    const std::size_t alignment = large ? kHugePage : kCacheLine;
    const std::size_t size = (bytes + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, size);
    if (memory != nullptr && large) madvise(memory, size, MADV_HUGEPAGE);
    return memory;
  }
  void free(void* memory) override { std::free(memory); }
  void* allocate_pinned(std::size_t bytes) override { return allocate(bytes); }
  void free_pinned(void* memory) override { std::free(memory); }

  Queue compute_queue() override { return Queue(Device::cpu()); }
  Queue copy_queue() override { return Queue(Device::cpu()); }
  void copy(void* to, const void* from, std::size_t bytes, const Queue&) override {
    if (bytes > 0) std::memmove(to, from, bytes);
  }
  void fill_zero(void* memory, std::size_t bytes, const Queue&) override {
    if (bytes > 0) std::memset(memory, 0, bytes);
  }
  void wait(const Queue&) override {}

 private:
  void* make_event() override { return nullptr; }
  void free_event(void*) override {}
  void record_event(void*, const Queue&) override {}
  void wait_for_event(void*, const Queue&) override {}
  void wait_for_event(void*) override {}
  void begin_recording(const Queue&) override { throw failure("the CPU records no work"); }
  void* end_recording(const Queue&) override { return nullptr; }
  void free_recording(void*) override {}
  void run_recording(void*, const Queue&) override {}
};

}  // namespace

DeviceRuntime& DeviceRuntime::of(Device device) {
  static HostRuntime cpu;
  if (device.kind == DeviceKind::cpu) return cpu;
  if (device.kind == DeviceKind::emulated) return emulated_runtime(cpu);
  static DeviceRuntime* const cuda = cuda_runtime();
  return *cuda;
}

}  // namespace tapescope
