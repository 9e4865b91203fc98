#include "kernels/cuda/runtime.h"

#include <cuda_runtime.h>

#include "engine/error.h"
#include "kernels/cuda/probe.h"

namespace tapescope::cuda {
namespace {

// Errors of kernels surface at a later call than the one that launched them. CUDA_LAUNCH_BLOCKING=1
// makes every launch wait, and the node that is named is then the one that failed.
void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw failure(
      "CUDA {} failed: {} ({}); run again with CUDA_LAUNCH_BLOCKING=1 to learn which "
      "kernel it was",
      what, cudaGetErrorString(error), cudaGetErrorName(error));
}

class CudaRuntime final : public DeviceRuntime {
 public:
  explicit CudaRuntime(const cudaDeviceProp& properties)
      : description_(fmt::format("{}, sm_{}{}, {:.0f} GiB", properties.name, properties.major,
                                 properties.minor,
                                 static_cast<double>(properties.totalGlobalMem) / (1 << 30))) {
    check(cudaStreamCreateWithFlags(&compute_, cudaStreamNonBlocking), "stream creation");
    check(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking), "stream creation");
  }

  std::string description() const override { return description_; }

  void* allocate(std::size_t bytes) override {
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, bytes);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // it is sticky otherwise
      return nullptr;
    }
    check(error, "allocation");
    return memory;
  }
  // Waits for the device first, so nothing in flight reads what goes.
  void free(void* memory) override { cudaFree(memory); }
  void* allocate_pinned(std::size_t bytes) override {
    void* memory = nullptr;
    if (cudaMallocHost(&memory, bytes) != cudaSuccess) {
      cudaGetLastError();
      return nullptr;
    }
    return memory;
  }
  void free_pinned(void* memory) override { cudaFreeHost(memory); }

  Queue compute_queue() override { return Queue(Device::cuda(), compute_); }
  Queue copy_queue() override { return Queue(Device::cuda(), copies_); }

  void copy(void* to, const void* from, std::size_t bytes, const Queue& queue) override {
    if (bytes == 0) return;
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream(queue)), "copy");
    if (pageable(to) || pageable(from)) check(cudaStreamSynchronize(stream(queue)), "copy");
  }
  void fill_zero(void* memory, std::size_t bytes, const Queue& queue) override {
    if (bytes > 0) check(cudaMemsetAsync(memory, 0, bytes, stream(queue)), "fill");
  }
  void wait(const Queue& queue) override { check(cudaStreamSynchronize(stream(queue)), "wait"); }

 private:
  void* make_event() override {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event creation");
    return event;
  }
  void free_event(void* event) override { cudaEventDestroy(static_cast<cudaEvent_t>(event)); }
  void record_event(void* event, const Queue& queue) override {
    check(cudaEventRecord(static_cast<cudaEvent_t>(event), stream(queue)), "event");
  }
  void wait_for_event(void* event, const Queue& queue) override {
    check(cudaStreamWaitEvent(stream(queue), static_cast<cudaEvent_t>(event), 0), "wait");
  }
  void wait_for_event(void* event) override {
    check(cudaEventSynchronize(static_cast<cudaEvent_t>(event)), "wait");
  }

  // Relaxed: what this and other threads ask of other streams meanwhile is none of its business.
  void begin_recording(const Queue& queue) override {
    check(cudaStreamBeginCapture(stream(queue), cudaStreamCaptureModeRelaxed), "graph capture");
  }
  void* end_recording(const Queue& queue) override {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream(queue), &graph), "graph capture");
    cudaGraphExec_t executable = nullptr;
    const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "graph instantiation");
    return executable;
  }
  void free_recording(void* recording) override {
    if (recording != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(recording));
  }
  void run_recording(void* recording, const Queue& queue) override {
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(recording), stream(queue)), "graph launch");
  }

  static cudaStream_t stream(const Queue& queue) {
    return static_cast<cudaStream_t>(queue.native());
  }
  static bool pageable(const void* memory) {
    cudaPointerAttributes attributes;
    check(cudaPointerGetAttributes(&attributes, memory), "pointer query");
    return attributes.type == cudaMemoryTypeUnregistered;
  }

  std::string description_;
  cudaStream_t compute_ = nullptr, copies_ = nullptr;
};

}  // namespace

std::unique_ptr<DeviceRuntime> open_device(std::string& why) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    why = error == cudaSuccess || error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver
              ? "this machine has no CUDA device, or its driver is missing or older than CUDA's " +
                    std::to_string(CUDART_VERSION / 1000) + "." +
                    std::to_string(CUDART_VERSION % 1000 / 10)
              : std::string("CUDA says: ") + cudaGetErrorString(error);
    return nullptr;
  }
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess || cudaSetDevice(0) != cudaSuccess) {
    why = std::string("CUDA device 0 cannot be opened: ") + cudaGetErrorString(cudaGetLastError());
    return nullptr;
  }
  if (properties.major < 8) {
    why = fmt::format("'{}' is sm_{}{}; the kernels need sm_80 (Ampere) or later", properties.name,
                      properties.major, properties.minor);
    return nullptr;
  }
  if (!has_code_for_this_device()) {
    why = fmt::format(
        "'{0}' is sm_{1}{2}, and this library was built for {3}; configure with "
        "-DCMAKE_CUDA_ARCHITECTURES={1}{2}{4}",
        properties.name, properties.major, properties.minor, TAPESCOPE_CUDA_ARCHITECTURES,
        properties.major == 9 ? "a" : "");  // wgmma rungs need it
    return nullptr;
  }
  try {
    return std::make_unique<CudaRuntime>(properties);
  } catch (const Error& failed) {
    why = failed.what();
    return nullptr;
  }
}

}  // namespace tapescope::cuda
