// Libraries that are used where they can be found: cuBLAS, cuDNN, NCCL.
#pragma once

#include <initializer_list>
#include <string>

namespace tapescope::cuda {

// Opened once and never closed. Looked for in the loader's path, in CUDA's folder (CUDA_HOME,
// CUDA_PATH, /usr/local/cuda) and in Python's nvidia/* packages: the system's, an activated
// environment's, those of the python3 on PATH.
class DynamicLibrary {
 public:
  // `names` in order of preference: {"libcublasLt.so.13", "libcublasLt.so.12"}.
  explicit DynamicLibrary(std::initializer_list<const char*> names);

  // Empty, or one sentence why it cannot be used.
  const std::string& why_missing() const { return why_; }
  // The function of this name; null, and why_missing() says so, where there is none.
  void* symbol(const char* name);

 private:
  void* handle_ = nullptr;
  std::string why_;
};

// What the libraries' fast kernels want of every pointer. Tensors of the pool and of arenas have
// it; rows() of a tensor may not. Throws a failure that names the way out.
constexpr unsigned kLibraryAlignment = 16;
void check_aligned(const char* library, const void* pointer);

}  // namespace tapescope::cuda
