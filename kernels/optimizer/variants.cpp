// Which optimiser kernel runs where, best first.
#include "kernels/optimizer/optimizer.h"
#include "kernels/optimizer/reference.h"
#include "kernels/optimizer/simd_plans.h"

namespace tapescope {
namespace {
constexpr DTypes kReference{DType::f32, DType::f64};
constexpr std::string_view kReferenceNote = "loops as the papers write them; the oracle";
constexpr std::string_view kSimdNote = "one pass in vectors over all the state, products fused";
}  // namespace

namespace cpu {

Rows<SgdShape> sgd_variants() {
  static constexpr Variant<SgdShape> rows[] = {
      {.name = "simd",
       .dtypes = {DType::f32},
       .error_factor = 2,
       .note = kSimdNote,
       .prepare = simd::sgd},
      {.name = "reference",
       .dtypes = kReference,
       .note = kReferenceNote,
       .prepare = reference::sgd},
  };
  return rows;
}

Rows<AdamwShape> adamw_variants() {
  static constexpr Variant<AdamwShape> rows[] = {
      {.name = "simd",
       .dtypes = {DType::f32},
       .error_factor = 2,
       .note = kSimdNote,
       .prepare = simd::adamw},
      {.name = "reference",
       .dtypes = kReference,
       .note = kReferenceNote,
       .prepare = reference::adamw},
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
