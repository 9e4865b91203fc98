// Which matrix product runs where, best first.
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/reference.h"
#include "kernels/matmul/simd_plans.h"

namespace tapescope::cpu {

Rows<MatmulShape> matmul_variants() {
  static constexpr Variant<MatmulShape> rows[] = {
      {.name = "simd",
       .dtypes = {DType::f32, DType::bf16},
       .note = "register tiles over packed panels: each element of a and b is read from cache, not "
               "memory",
       .prepare = simd::matmul},
      {.name = "reference",
       .dtypes = {DType::f32, DType::f64, DType::bf16},
       .note = "the textbook's three loops; the oracle",
       .prepare = reference::matmul},
  };
  return rows;
}

}  // namespace tapescope::cpu
