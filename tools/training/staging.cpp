#include "tools/training/staging.h"

#include <cstring>

namespace tapescope {

Staging::Staging(Device device)
    : device_(device),
      runtime_(DeviceRuntime::of(device)),
      slots_{Slot(runtime_), Slot(runtime_)} {}

Staging::~Staging() {
  if (device_.kind == DeviceKind::cpu) return;
  // A device that has failed fails here once more, while its first error is on its way out.
  try {
    runtime_.wait(runtime_.copy_queue());
    runtime_.wait(runtime_.compute_queue());
  } catch (const Error&) {
  }
  for (Slot& slot : slots_) {
    for (auto& [name, buffer] : slot.buffers) runtime_.free_pinned(buffer.pinned);
  }
}

std::vector<NamedTensor> Staging::stage(std::vector<NamedTensor> inputs) {
  if (device_.kind == DeviceKind::cpu) return inputs;
  current_ = 1 - current_;
  Slot& slot = slots_[current_];
  const Queue copies = runtime_.copy_queue();
  slot.copied.wait();      // the host may write the pinned memory again
  slot.used.hold(copies);  // and the copies the device's
  for (NamedTensor& input : inputs) {
    const auto entry = slot.buffers.try_emplace(std::string(input.name)).first;
    Buffer& buffer = entry->second;
    const std::size_t bytes = input.value.bytes();
    if (buffer.capacity < bytes) {
      runtime_.free_pinned(buffer.pinned);
      buffer.pinned = runtime_.allocate_pinned(bytes);
      if (buffer.pinned == nullptr) {
        throw failure(
            "out of pinned host memory: {} bytes for a batch of '{}'; try a smaller "
            "--batch-size",
            bytes, input.name);
      }
      buffer.capacity = bytes;
    }
    if (!buffer.device.defined() || buffer.device.type() != input.value.type()) {
      // Memory of the pool may still be read by what the compute queue holds.
      runtime_.wait(runtime_.compute_queue());
      buffer.device = Tensor(input.value.type(), device_, Purpose::data, "batch");
    }
    std::memcpy(buffer.pinned, input.value.data(), bytes);
    runtime_.copy(buffer.device.data(), buffer.pinned, bytes, copies);
    input = {entry->first, buffer.device};
  }
  slot.copied.record(copies);
  slot.copied.hold(runtime_.compute_queue());
  return inputs;
}

void Staging::done() {
  if (device_.kind == DeviceKind::cpu) return;
  slots_[current_].used.record(runtime_.compute_queue());
}

}  // namespace tapescope
