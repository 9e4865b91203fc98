// cuBLASLt, opened when first needed.
#pragma once

#include <cublasLt.h>

#include <string>

namespace tapescope::cuda {

struct CublasLt {
  // The functions, each null where the library could not be opened.
  decltype(&::cublasLtCreate) create = nullptr;
  decltype(&::cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&::cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&::cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&::cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&::cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&::cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&::cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&::cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&::cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&::cublasLtMatmul) matmul = nullptr;
  decltype(&::cublasLtGetStatusString) status_string = nullptr;
  cublasLtHandle_t handle = nullptr;
  std::string why_missing;

  // Throws a failure naming `what` and the status.
  void check(cublasStatus_t status, const char* what) const;
};

CublasLt& cublas();

}  // namespace tapescope::cuda
