// In place of cublas_tables.cpp where a build has no cuBLAS.
#include "kernels/cuda/tables.h"
#include "kernels/matmul/matmul.h"

namespace tapescope::cuda {

std::vector<GpuTable> cublas_tables() {
  static const WithLibrary<MatmulShape> matmul(kCublas,
                                               "this build has no cuBLAS (TAPESCOPE_CUBLAS)");
  return {matmul.table()};
}

}  // namespace tapescope::cuda
