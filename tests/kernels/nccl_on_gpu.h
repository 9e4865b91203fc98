// What a single GPU can say of NCCL: a world of one rank, its sums alone and in a CUDA graph.
#pragma once

#include <dlfcn.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "engine/runtime.h"
#include "kernels/collectives/all_reduce.h"
#include "kernels/collectives/device_link.h"
#include "kernels/collectives/local.h"
#include "kernels/collectives/nccl_ranks.h"
#include "tests/kernels/rank_bodies.h"

namespace tapescope {

// Work of a queue, captured and run again: by the driver, which is there where a GPU is.
class CapturedGraph {
 public:
  template <class Body>
  CapturedGraph(const Queue& queue, Body body) : stream_(queue.native()) {
    call("cuStreamBeginCapture_v2", stream_, 0 /* global */);
    body();
    void* graph = nullptr;
    call("cuStreamEndCapture", stream_, &graph);
    call("cuGraphInstantiateWithFlags", &executable_, graph, 0ull);
    call("cuGraphDestroy", graph);
  }
  ~CapturedGraph() { call("cuGraphExecDestroy", executable_); }
  CapturedGraph(const CapturedGraph&) = delete;
  CapturedGraph& operator=(const CapturedGraph&) = delete;
  void launch() { call("cuGraphLaunch", executable_, stream_); }

 private:
  template <class... A>
  static void call(const char* name, A... arguments) {
    static void* const driver = ::dlopen("libcuda.so.1", RTLD_NOW);
    const auto function = reinterpret_cast<int (*)(A...)>(::dlsym(driver, name));
    expect(function != nullptr, std::string(name) + " in the driver");
    const int status = function(arguments...);
    expect(status == 0, fmt::format("{} to succeed, and not with {}", name, status));
  }
  void* stream_;
  void* executable_ = nullptr;
};

// Throws a failure that says what is wrong. Where why_no_nccl() is empty.
inline void check_nccl_on_gpu(bool fast) {
  constexpr std::int64_t kCount = 1'000'003;
  constexpr std::size_t kBytes = kCount * sizeof(float);
  const int world = LocalWorld::create(1);
  auto host = join_local(std::make_shared<LocalWorld>(world, 1), 0);
  ::close(world);
  const auto ranks = join_nccl(nccl::library(), std::move(host), {0, 1, fast, 300, Device::cuda()});
  DeviceRuntime& gpu = DeviceRuntime::of(Device::cuda());
  const Queue queue = gpu.compute_queue();
  const Plan plan = all_reduce(ranks.get(), kCount, DType::f32, Device::cuda());
  expect(plan.variant() == (fast ? "nccl" : "pairs"), "NCCL to be what sums are made by");
  void* const x = gpu.allocate(kBytes);
  void* const sum = gpu.allocate(kBytes);
  void* const workspace = gpu.allocate(plan.workspace_bytes() + 1);
  const void* const in[] = {x};
  void* const out[] = {sum};
  const auto once = [&] { plan.run(queue, {in, out, workspace}); };
  const auto check = [&](std::uint64_t call, const auto& run) {
    std::vector<float> values(kCount), found(kCount);
    for (std::int64_t i = 0; i < kCount; ++i) {
      values[static_cast<std::size_t>(i)] = number_of<float>(0, i, call);
    }
    gpu.copy(x, values.data(), kBytes, queue);
    gpu.fill_zero(sum, kBytes, queue);
    run();
    gpu.copy(found.data(), sum, kBytes, queue);
    gpu.wait(queue);
    expect(found == values, fmt::format("the sum of one rank to be its own, call {}", call));
  };
  check(0, once);
  {
    CapturedGraph graph(queue, once);
    for (std::uint64_t call = 1; call < 4; ++call) check(call, [&] { graph.launch(); });
  }
  // A world of one has no partner but itself.
  DeviceLink& link = *ranks->device_link();
  const auto to_itself = [&] { link.exchange(0, x, kBytes, sum, kBytes, queue); };
  check(4, to_itself);
  {
    CapturedGraph graph(queue, to_itself);
    check(5, [&] { graph.launch(); });
  }
  for (void* memory : {x, sum, workspace}) gpu.free(memory);
}

}  // namespace tapescope
