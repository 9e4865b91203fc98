// The matrix product's GPU table with cuBLAS in front.
#include "kernels/cuda/tables.h"
#include "kernels/matmul/cublas.h"

namespace tapescope::cuda {

std::vector<GpuTable> cublas_tables() {
  static const WithLibrary<MatmulShape> matmul(kCublas, cublas::why_missing(), cublas::matmul,
                                               cublas::supports_matmul);
  return {matmul.table()};
}

}  // namespace tapescope::cuda
