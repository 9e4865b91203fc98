// In place of cublas_tables.cpp where a build has no cuBLAS.
#include "kernels/cuda/library_variants.h"
#include "kernels/cuda/tables.h"
#include "kernels/matmul/matmul.h"

namespace tapescope::cuda {

std::vector<GpuTable> cublas_tables() {
  static const WithLibrary<MatmulShape> matmul([] {
    Variant<MatmulShape> variant{kCublasInfo};
    variant.reason = "this build has no cuBLAS (TAPESCOPE_CUBLAS)";
    return variant;
  }());
  return {matmul.table()};
}

}  // namespace tapescope::cuda
