#include "kernels/cuda/cublas_library.h"

#include "engine/error.h"
#include "kernels/common/dynamic_library.h"

namespace tapescope::cuda {
namespace {

CublasLt open() {
  CublasLt lt;
  static DynamicLibrary library({"libcublasLt.so.13", "libcublasLt.so.12"});
  const auto load = [](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(library.symbol(name));
  };
  load(lt.create, "cublasLtCreate");
  load(lt.desc_create, "cublasLtMatmulDescCreate");
  load(lt.desc_destroy, "cublasLtMatmulDescDestroy");
  load(lt.desc_set, "cublasLtMatmulDescSetAttribute");
  load(lt.layout_create, "cublasLtMatrixLayoutCreate");
  load(lt.layout_destroy, "cublasLtMatrixLayoutDestroy");
  load(lt.preference_create, "cublasLtMatmulPreferenceCreate");
  load(lt.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  load(lt.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  load(lt.heuristic, "cublasLtMatmulAlgoGetHeuristic");
  load(lt.matmul, "cublasLtMatmul");
  load(lt.status_string, "cublasLtGetStatusString");
  lt.why_missing = library.why_missing();
  if (lt.why_missing.empty() && lt.create(&lt.handle) != CUBLAS_STATUS_SUCCESS) {
    lt.why_missing = "cublasLtCreate failed; is the driver as new as the library?";
  }
  return lt;
}

}  // namespace

void CublasLt::check(cublasStatus_t status, const char* what) const {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw failure("[cublas] {} failed: {}", what, status_string(status));
}

CublasLt& cublas() {
  static CublasLt lt = open();
  return lt;
}

}  // namespace tapescope::cuda
