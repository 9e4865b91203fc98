#include "kernels/collectives/all_reduce.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "engine/runtime.h"
#include "kernels/collectives/device_link.h"
#include "kernels/collectives/paired_rounds.h"
#include "kernels/elementwise/elementwise.h"

namespace tapescope {
namespace {

// The exchanges of paired_rounds.h from GPU to GPU, and our own kernel to add: the bits of one
// process, whatever the library's order. Of f32, which is what devices add.
class PairsOfDevices {
 public:
  PairsOfDevices(Communicator& ranks, DeviceLink& link, std::int64_t elements, Device device)
      : link_(&link),
        rounds_(ranks.rank(), ranks.size(), elements,
                elements * static_cast<std::int64_t>(sizeof(float)) >= kHalvedFrom) {
    for (int i = 0; i < rounds_.count(); ++i) {
      const PairedRounds::Round round = rounds_.round(i);
      if (!round.adds) continue;
      const std::int64_t count = round.received.count();
      const BinaryShape pair{DType::f32, Binary::add, {count}, {count}};
      adds_->push_back(prepare_from(binary_variants(), pair, DType::f32, {device, {}}));
      received_ = std::max(received_, bytes(round.received));
      workspace_ = std::max(workspace_, adds_->back().workspace_bytes());
    }
    constexpr std::size_t kAlignment = 256;
    received_ = (received_ + kAlignment - 1) / kAlignment * kAlignment;
  }
  // Of what a partner sends, and of what adds it.
  std::size_t room() const { return received_ + workspace_; }
  void run(const Queue& queue, float* x, void* room) const {
    for (int i = 0; i < rounds_.count(); ++i) {
      const PairedRounds::Round round = rounds_.round(i);
      float* const own = x + round.received.begin;
      link_->exchange(round.partner, x + round.sent.begin, bytes(round.sent),
                      round.adds ? room : own, bytes(round.received), queue);
      if (!round.adds || round.received.count() == 0) continue;
      const bool lower = rounds_.is_lower(round);
      const void* const pair[] = {lower ? own : room, lower ? room : own};
      void* const sum[] = {own};
      (*adds_)[static_cast<std::size_t>(i)].run(queue,
                                                {pair, sum, static_cast<char*>(room) + received_});
    }
  }

 private:
  static std::size_t bytes(PairedRounds::Range range) {
    return static_cast<std::size_t>(range.count()) * sizeof(float);
  }
  DeviceLink* link_;
  PairedRounds rounds_;
  std::shared_ptr<std::vector<Plan>> adds_ = std::make_shared<std::vector<Plan>>();  // by round
  std::size_t received_ = 0, workspace_ = 0;
};

Plan on_device(Communicator& ranks, DeviceLink* link, std::int64_t elements, Device device) {
  if (link->fast()) {
    return Plan("nccl", 0, [=](const Queue& queue, const Buffers& b) {
      if (elements == 0) return;
      link->sum_fast(static_cast<const float*>(b.in[0]), static_cast<float*>(b.out[0]), elements,
                     queue);
    });
  }
  const PairsOfDevices pairs(ranks, *link, elements, device);
  DeviceRuntime* const runtime = &DeviceRuntime::of(device);
  const std::size_t bytes = static_cast<std::size_t>(elements) * sizeof(float);
  return Plan("pairs", pairs.room(), [=](const Queue& queue, const Buffers& b) {
    if (b.out[0] != b.in[0]) runtime->copy(b.out[0], b.in[0], bytes, queue);
    pairs.run(queue, static_cast<float*>(b.out[0]), b.workspace);
  });
}

SumInTwoSteps beside_queue(Communicator& ranks, DeviceLink* link, std::int64_t elements,
                           Device device) {
  DeviceRuntime* const runtime = &DeviceRuntime::of(device);
  const auto end = [=](const Queue& queue, const Buffers& b) {
    link->join(queue);
    const std::size_t bytes = static_cast<std::size_t>(elements) * sizeof(float);
    if (b.out[0] != b.in[0]) runtime->copy(b.out[0], b.in[0], bytes, queue);
  };
  if (link->fast()) {
    const auto begin = [=](const Queue& queue, const Buffers& b) {
      auto* const x = static_cast<float*>(b.out[0]);
      const Queue side = link->fork(queue);
      if (elements > 0) link->sum_fast(x, x, elements, side);
      link->mark();
    };
    return {0, Plan("nccl", 0, begin), Plan("nccl", 0, end)};
  }
  const PairsOfDevices pairs(ranks, *link, elements, device);
  const auto begin = [=](const Queue& queue, const Buffers& b) {
    pairs.run(link->fork(queue), static_cast<float*>(b.out[0]), b.out[1]);
    link->mark();
  };
  return {pairs.room(), Plan("pairs", 0, begin), Plan("pairs", 0, end)};
}

}  // namespace

Plan all_reduce(Communicator* ranks, std::int64_t elements, DType dtype, Device device) {
  const std::size_t bytes = static_cast<std::size_t>(elements) * size_of(dtype);
  DeviceRuntime& runtime = DeviceRuntime::of(device);
  if (ranks == nullptr || device.kind == DeviceKind::cpu) {
    return Plan("tree", 0, [=, &runtime](const Queue& queue, const Buffers& b) {
      if (b.out[0] != b.in[0]) runtime.copy(b.out[0], b.in[0], bytes, queue);
      if (ranks != nullptr) ranks->all_reduce(b.out[0], elements, dtype);
    });
  }
  DeviceLink* const link = dtype == DType::f32 ? ranks->device_link() : nullptr;
  if (link != nullptr) return on_device(*ranks, link, elements, device);
  auto host = std::make_shared<std::vector<std::byte>>(bytes);
  return Plan("staged", 0, [=, &runtime](const Queue& queue, const Buffers& b) {
    runtime.copy(host->data(), b.in[0], bytes, queue);
    runtime.wait(queue);
    ranks->all_reduce(host->data(), elements, dtype);
    runtime.copy(b.out[0], host->data(), bytes, queue);
  });
}

SumInTwoSteps all_reduce_in_two_steps(Communicator& ranks, std::int64_t elements, DType dtype,
                                      Device device) {
  DeviceLink* const link = dtype == DType::f32 ? ranks.device_link() : nullptr;
  if (device.kind != DeviceKind::cpu && link != nullptr) {
    return beside_queue(ranks, link, elements, device);
  }
  if (device.kind != DeviceKind::cpu) {  // through the host: all of it when it is wanted
    return {0, Plan("staged", 0, [](const Queue&, const Buffers&) {}),
            all_reduce(&ranks, elements, dtype, device)};
  }
  const std::size_t bytes = static_cast<std::size_t>(elements) * size_of(dtype);
  DeviceRuntime& runtime = DeviceRuntime::of(device);
  const auto begin = [=, &ranks](const Queue&, const Buffers& b) {
    ranks.begin_sum(b.out[0], elements, dtype);
  };
  const auto end = [=, &ranks, &runtime](const Queue& queue, const Buffers& b) {
    ranks.finish_sum();
    if (b.out[0] != b.in[0]) runtime.copy(b.out[0], b.in[0], bytes, queue);
  };
  return {0, Plan("tree", 0, begin), Plan("tree", 0, end)};
}

}  // namespace tapescope
