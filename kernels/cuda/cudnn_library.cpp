#include "kernels/cuda/cudnn_library.h"

#include "engine/error.h"
#include "kernels/common/dynamic_library.h"

namespace tapescope::cuda {
namespace {

Cudnn open() {
  Cudnn dnn;
  static DynamicLibrary library({"libcudnn.so.9"});
  const auto load = [](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(library.symbol(name));
  };
  load(dnn.create, "cudnnCreate");
  load(dnn.set_stream, "cudnnSetStream");
  load(dnn.error_string, "cudnnGetErrorString");
  load(dnn.backend_create, "cudnnBackendCreateDescriptor");
  load(dnn.backend_destroy, "cudnnBackendDestroyDescriptor");
  load(dnn.backend_set, "cudnnBackendSetAttribute");
  load(dnn.backend_get, "cudnnBackendGetAttribute");
  load(dnn.backend_finalize, "cudnnBackendFinalize");
  load(dnn.backend_execute, "cudnnBackendExecute");
  dnn.why_missing = library.why_missing();
  if (dnn.why_missing.empty() && dnn.create(&dnn.handle) != CUDNN_STATUS_SUCCESS) {
    dnn.why_missing = "cudnnCreate failed; is the driver as new as the library?";
  }
  return dnn;
}

}  // namespace

void Cudnn::check(cudnnStatus_t status, const char* what) const {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw failure("[cudnn] {} failed: {}", what, error_string(status));
}

Cudnn& cudnn() {
  static Cudnn dnn = open();
  return dnn;
}

}  // namespace tapescope::cuda
