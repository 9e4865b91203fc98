// Which element-wise kernel runs where, best first.
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/reference.h"
#include "kernels/elementwise/simd_plans.h"

namespace tapescope {
namespace {
constexpr DTypes kReference{DType::f32, DType::f64, DType::bf16};
constexpr std::string_view kReferenceNote = "one libm call per element; the oracle";
constexpr std::string_view kSimdNote =
    "contiguous blocks of vectors, polynomials in place of libm calls (2 ulp)";
}  // namespace

namespace cpu {

Rows<UnaryShape> unary_variants() {
  static constexpr Variant<UnaryShape> rows[] = {
      {.name = "simd",
       .dtypes = {DType::f32, DType::bf16},
       .error_factor = 2,
       .note = kSimdNote,
       .prepare = simd::unary,
       .supports = simd::supports_unary},
      {.name = "reference",
       .dtypes = kReference,
       .note = kReferenceNote,
       .prepare = reference::unary},
  };
  return rows;
}

Rows<BinaryShape> binary_variants() {
  static constexpr Variant<BinaryShape> rows[] = {
      {.name = "simd",
       .dtypes = {DType::f32, DType::bf16},
       .error_factor = 2,
       .note = kSimdNote,
       .prepare = simd::binary,
       .supports = simd::supports_binary},
      {.name = "reference",
       .dtypes = kReference,
       .note = kReferenceNote,
       .prepare = reference::binary},
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
