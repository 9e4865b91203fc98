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

std::span<const Variant<SgdShape>> sgd_variants() {
  static constexpr Variant<SgdShape> table[] = {
      {{"sgd", "simd", DeviceKind::cpu, {DType::f32}, 2, kSimdNote, ""}, simd::sgd},
      {{"sgd", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""}, reference::sgd},
  };
  return table;
}

std::span<const Variant<AdamwShape>> adamw_variants() {
  static constexpr Variant<AdamwShape> table[] = {
      {{"adamw", "simd", DeviceKind::cpu, {DType::f32}, 2, kSimdNote, ""}, simd::adamw},
      {{"adamw", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""},
       reference::adamw},
  };
  return table;
}

}  // namespace tapescope
