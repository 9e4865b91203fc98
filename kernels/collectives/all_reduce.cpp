#include "kernels/collectives/all_reduce.h"

#include <memory>
#include <vector>

#include "engine/runtime.h"
#include "kernels/collectives/device_link.h"
#include "kernels/elementwise/elementwise.h"

namespace tapescope {
namespace {

// What every rank has, gathered, and the tree of tree.h over it by our own kernel: the bits of one
// process, whatever the library's order. Of f32, which is what devices add.
class GatheredTree {
 public:
  GatheredTree(Communicator& ranks, DeviceLink& link, std::int64_t elements, Device device)
      : link_(&link),
        runtime_(&DeviceRuntime::of(device)),
        rank_(ranks.rank()),
        ranks_(ranks.size()),
        bytes_(static_cast<std::size_t>(elements) * sizeof(float)),
        row_((bytes_ + kAlignment - 1) / kAlignment * kAlignment) {
    const BinaryShape pair{DType::f32, Binary::add, {elements}, {elements}};
    add_ = std::make_shared<Plan>(prepare_from(binary_variants(), pair, DType::f32, {device, {}}));
  }
  // Of the rows, and of what adds them.
  std::size_t room() const {
    return row_ * static_cast<std::size_t>(ranks_) + add_->workspace_bytes();
  }
  void gather(const Queue& queue, const void* x, void* room) const {
    if (bytes_ == 0) return;
    runtime_->copy(row(room, rank_), x, bytes_, queue);
    link_->gather_rows(room, row_, queue);
  }
  void add(const Queue& queue, void* room, void* out) const {
    if (bytes_ == 0) return;
    for (int distance = 1; distance < ranks_; distance *= 2) {
      for (int lower = 0; lower < ranks_; lower += 2 * distance) {
        const void* const pair[] = {row(room, lower), row(room, lower + distance)};
        void* const sum[] = {2 * distance == ranks_ ? out : row(room, lower)};
        add_->run(queue, {pair, sum, row(room, ranks_)});
      }
    }
    if (ranks_ == 1) runtime_->copy(out, row(room, 0), bytes_, queue);
  }

 private:
  static constexpr std::size_t kAlignment = 256;  // of a row, for the kernel
  void* row(void* room, int r) const {
    return static_cast<char*>(room) + row_ * static_cast<std::size_t>(r);
  }
  DeviceLink* link_;
  DeviceRuntime* runtime_;
  int rank_, ranks_;
  std::size_t bytes_, row_;
  std::shared_ptr<Plan> add_;  // of two rows
};

Plan on_device(Communicator& ranks, DeviceLink* link, std::int64_t elements, Device device) {
  if (link->fast()) {
    return Plan("nccl", 0, [=](const Queue& queue, const Buffers& b) {
      if (elements == 0) return;
      link->sum_fast(static_cast<const float*>(b.in[0]), static_cast<float*>(b.out[0]), elements,
                     queue);
    });
  }
  const GatheredTree tree(ranks, *link, elements, device);
  return Plan("gathered", tree.room(), [=](const Queue& queue, const Buffers& b) {
    tree.gather(queue, b.in[0], b.workspace);
    tree.add(queue, b.workspace, b.out[0]);
  });
}

SumInTwoSteps beside_queue(Communicator& ranks, DeviceLink* link, std::int64_t elements,
                           Device device) {
  if (link->fast()) {
    const auto begin = [=](const Queue& queue, const Buffers& b) {
      auto* const x = static_cast<float*>(b.out[0]);
      const Queue side = link->fork(queue);
      if (elements > 0) link->sum_fast(x, x, elements, side);
      link->mark();
    };
    DeviceRuntime* const runtime = &DeviceRuntime::of(device);
    const auto end = [=](const Queue& queue, const Buffers& b) {
      link->join(queue);
      const std::size_t bytes = static_cast<std::size_t>(elements) * sizeof(float);
      if (b.out[0] != b.in[0]) runtime->copy(b.out[0], b.in[0], bytes, queue);
    };
    return {0, Plan("nccl", 0, begin), Plan("nccl", 0, end)};
  }
  const GatheredTree tree(ranks, *link, elements, device);
  const auto begin = [=](const Queue& queue, const Buffers& b) {
    const Queue side = link->fork(queue);
    tree.gather(side, b.out[0], b.out[1]);
    link->mark();
  };
  const auto end = [=](const Queue& queue, const Buffers& b) {
    link->join(queue);
    tree.add(queue, const_cast<void*>(b.in[1]), b.out[0]);
  };
  return {tree.room(), Plan("gathered", 0, begin), Plan("gathered", 0, end)};
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
