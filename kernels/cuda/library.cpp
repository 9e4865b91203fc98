// What libtapescope_cuda.so shows to the program that opens it.
#include <memory>

#include "engine/cuda_library.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/tables.h"

namespace tapescope {

extern "C" {

__attribute__((visibility("default"))) int tapescope_cuda_version() { return kCudaLibraryVersion; }

__attribute__((visibility("default"))) DeviceRuntime* tapescope_cuda_open(std::string* why) {
  static std::unique_ptr<DeviceRuntime> device = cuda::open_device(*why);
  return device.get();
}

__attribute__((visibility("default"))) void tapescope_cuda_tables(GpuTables* tables) {
  *tables = cuda::all_gpu_tables();
}

}  // extern "C"

}  // namespace tapescope
