#include "kernels/collectives/all_reduce.h"

#include <memory>
#include <vector>

#include "engine/runtime.h"
#include "kernels/collectives/device_link.h"
#include "kernels/elementwise/elementwise.h"

namespace tapescope {
namespace {

// What every rank has, gathered in the workspace, and the tree of tree.h over it by our own kernel:
// the bits of one process, whatever the library's order.
struct GatheredTree {
  DeviceLink* link;
  DeviceRuntime* runtime;
  int rank, ranks;
  std::size_t bytes, row;     // a row is aligned for the kernel
  std::shared_ptr<Plan> add;  // of two rows

  void operator()(const Queue& queue, const Buffers& b) const {
    if (bytes == 0) return;
    const auto at = [&](int r) {
      return static_cast<char*>(b.workspace) + row * static_cast<std::size_t>(r);
    };
    runtime->copy(at(rank), b.in[0], bytes, queue);
    link->gather_rows(b.workspace, row, queue);
    for (int distance = 1; distance < ranks; distance *= 2) {
      for (int lower = 0; lower < ranks; lower += 2 * distance) {
        const void* const pair[] = {at(lower), at(lower + distance)};
        void* const sum[] = {2 * distance == ranks ? b.out[0] : at(lower)};
        add->run(queue, {pair, sum, at(ranks)});
      }
    }
    if (ranks == 1) runtime->copy(b.out[0], at(0), bytes, queue);
  }
};

// Of f32, which is what devices add.
Plan on_device(Communicator& ranks, DeviceLink* link, std::int64_t elements, Device device) {
  if (link->fast()) {
    return Plan("nccl", 0, [=](const Queue& queue, const Buffers& b) {
      if (elements == 0) return;
      link->sum_fast(static_cast<const float*>(b.in[0]), static_cast<float*>(b.out[0]), elements,
                     queue);
    });
  }
  constexpr std::size_t kAlignment = 256;
  const std::size_t bytes = static_cast<std::size_t>(elements) * sizeof(float),
                    row = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const BinaryShape pair{DType::f32, Binary::add, {elements}, {elements}};
  auto add =
      std::make_shared<Plan>(prepare_from(binary_variants(), pair, DType::f32, {device, {}}));
  const std::size_t workspace =
      row * static_cast<std::size_t>(ranks.size()) + add->workspace_bytes();
  return Plan("gathered", workspace,
              GatheredTree{link, &DeviceRuntime::of(device), ranks.rank(), ranks.size(), bytes, row,
                           std::move(add)});
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

}  // namespace tapescope
