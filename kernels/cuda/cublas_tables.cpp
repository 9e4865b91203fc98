#include "kernels/cuda/library_variants.h"
#include "kernels/cuda/tables.h"
#include "kernels/matmul/cublas.h"

namespace tapescope::cuda {

std::vector<GpuTable> cublas_tables() {
  static const WithLibrary<MatmulShape> matmul([] {
    Variant<MatmulShape> variant{kCublasInfo, cublas::matmul, cublas::supports_matmul};
    variant.reason = cublas::why_missing();
    return variant;
  }());
  return {matmul.table()};
}

}  // namespace tapescope::cuda
