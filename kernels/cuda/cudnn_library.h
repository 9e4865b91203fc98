// cuDNN 9, opened when first needed.
#pragma once

#include <cudnn.h>

#include <string>

namespace tapescope::cuda {

struct Cudnn {
  decltype(&::cudnnCreate) create = nullptr;
  decltype(&::cudnnSetStream) set_stream = nullptr;
  decltype(&::cudnnGetErrorString) error_string = nullptr;
  decltype(&::cudnnBackendCreateDescriptor) backend_create = nullptr;
  decltype(&::cudnnBackendDestroyDescriptor) backend_destroy = nullptr;
  decltype(&::cudnnBackendSetAttribute) backend_set = nullptr;
  decltype(&::cudnnBackendGetAttribute) backend_get = nullptr;
  decltype(&::cudnnBackendFinalize) backend_finalize = nullptr;
  decltype(&::cudnnBackendExecute) backend_execute = nullptr;
  cudnnHandle_t handle = nullptr;
  std::string why_missing;

  // Throws a failure naming `what` and the status.
  void check(cudnnStatus_t status, const char* what) const;
};

Cudnn& cudnn();

}  // namespace tapescope::cuda
