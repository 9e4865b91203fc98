// Which element-wise kernel runs where, best first.
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/reference.h"
#include "kernels/elementwise/simd_plans.h"

namespace tapescope {
namespace {
constexpr DTypes kReference{DType::f32, DType::f64, DType::bf16};
constexpr std::string_view kReferenceNote = "one libm call an element; the oracle";
constexpr std::string_view kSimdNote =
    "contiguous blocks of vectors, polynomials in place of libm calls (2 ulp)";
}  // namespace

std::span<const Variant<UnaryShape>> unary_variants() {
  static constexpr Variant<UnaryShape> table[] = {
      {{"unary", "simd", DeviceKind::cpu, {DType::f32, DType::bf16}, 2, kSimdNote, ""},
       simd::unary,
       simd::supports_unary},
      {{"unary", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""},
       reference::unary},
  };
  return table;
}

std::span<const Variant<BinaryShape>> binary_variants() {
  static constexpr Variant<BinaryShape> table[] = {
      {{"binary", "simd", DeviceKind::cpu, {DType::f32, DType::bf16}, 2, kSimdNote, ""},
       simd::binary,
       simd::supports_binary},
      {{"binary", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""},
       reference::binary},
  };
  return table;
}

}  // namespace tapescope
