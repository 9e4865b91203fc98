// Which matrix product runs where, best first.
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/reference.h"
#include "kernels/matmul/simd_plans.h"

namespace tapescope {

// The batch is the rows of a, or what is summed over where a is transposed.
std::string MatmulShape::key() const {
  if (M == 0 || N == 0 || K == 0) return "";
  const std::string a = transpose_a ? fmt::format("t{} {}xBATCH", transpose_b ? 't' : 'n', M)
                                    : fmt::format("n{} BATCHx{}", transpose_b ? 't' : 'n', K);
  return fmt::format("{} {} to {}{}{}", name_of(dtype), a, N, bias ? " bias" : "",
                     wide ? " wide" : "");
}

namespace cpu {

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

}  // namespace cpu

}  // namespace tapescope
