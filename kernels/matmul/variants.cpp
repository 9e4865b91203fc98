// Which matrix product runs where, best first.
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/reference.h"
#include "kernels/matmul/simd_plans.h"

namespace tapescope {

std::span<const Variant<MatmulShape>> matmul_variants() {
  static constexpr Variant<MatmulShape> table[] = {
      {{"matmul", "simd", DeviceKind::cpu, DTypes{DType::f32}, 1,
        "register tiles over packed panels: each element of a and b is read from cache, not memory",
        ""},
       simd::matmul},
      {{"matmul", "reference", DeviceKind::cpu, DTypes{DType::f32, DType::f64, DType::bf16}, 1,
        "the textbook's three loops; the oracle", ""},
       reference::matmul},
  };
  return table;
}

}  // namespace tapescope
