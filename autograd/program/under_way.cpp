#include "autograd/program/under_way.h"

#include <algorithm>
#include <cstring>

namespace tapescope {

Landing::Landing(DeviceRuntime& runtime, std::span<const Type> types)
    : ended(runtime), runtime_(runtime), types_(types.begin(), types.end()) {
  constexpr std::size_t kAlignment = 16;
  std::size_t bytes = kAlignment;  // `halted` is in front
  for (const Type& type : types) {
    offsets_.push_back(bytes);
    bytes += (type.bytes() + kAlignment - 1) / kAlignment * kAlignment;
  }
  memory_ = runtime.allocate_pinned(bytes);
  if (memory_ == nullptr) {
    throw failure("out of pinned host memory: {} bytes for what a run returns", bytes);
  }
  *halted() = 0;
}

Landing::~Landing() {
  try {
    ended.wait();
  } catch (const Error&) {  // a device that has failed: told where it was first seen
  }
  runtime_.free_pinned(memory_);
}

Landing& UnderWay::land(DeviceRuntime& runtime, std::span<const Type> types) {
  std::unique_ptr<Landing>& landing = landings_[next_];
  next_ = 1 - next_;
  if (landing == nullptr ||
      !std::equal(types.begin(), types.end(), landing->types().begin(), landing->types().end())) {
    landing = std::make_unique<Landing>(runtime, types);
  }
  runs_.push_back({landing.get(), {}});
  return *landing;
}

std::vector<Tensor> UnderWay::take(bool& halted) {
  Run run = std::move(runs_.front());
  runs_.pop_front();
  halted = false;
  if (run.landing == nullptr) return std::move(run.outputs);
  run.landing->ended.wait();
  halted = *run.landing->halted() != 0;
  const std::span<const Type> types = run.landing->types();
  for (std::size_t i = 0; i < types.size(); ++i) {
    Tensor& output = run.outputs.emplace_back(types[i]);
    if (output.bytes() > 0) std::memcpy(output.data(), run.landing->at(i), output.bytes());
  }
  return std::move(run.outputs);
}

void Recordings::run(DeviceRuntime& runtime, const Queue& queue, std::vector<const void*> addresses,
                     FunctionRef<void()> work) {
  const auto found = std::find_if(seen_.begin(), seen_.end(),
                                  [&](const Seen& seen) { return seen.addresses == addresses; });
  if (found == seen_.end()) {
    if (seen_.size() == kMost) seen_.pop_back();
    seen_.insert(seen_.begin(), {std::move(addresses), nullptr});
    return work();  // which makes ready what kernels make at their first run
  }
  std::rotate(seen_.begin(), found, found + 1);
  Seen& seen = seen_.front();
  if (seen.work == nullptr) {
    try {
      seen.work = std::make_unique<RecordedWork>(runtime, queue, work);
    } catch (const Error& error) {
      throw Error(error.blame(),
                  fmt::format("{} (while a run was recorded, which TAPESCOPE_RECORD_RUNS=0 leaves "
                              "out)",
                              error.what()));
    }
  }
  seen.work->run(queue);
}

}  // namespace tapescope
