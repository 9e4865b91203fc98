// Which optimiser kernel runs where, best first.
#include "kernels/optimizer/optimizer.h"
#include "kernels/optimizer/reference.h"

namespace tapescope {
namespace {
constexpr DTypes kReference{DType::f32, DType::f64};
constexpr std::string_view kReferenceNote = "loops as the papers write them; the oracle";
}  // namespace

std::span<const Variant<SgdShape>> sgd_variants() {
  static constexpr Variant<SgdShape> table[] = {
      {{"sgd", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""}, reference::sgd},
  };
  return table;
}

std::span<const Variant<AdamwShape>> adamw_variants() {
  static constexpr Variant<AdamwShape> table[] = {
      {{"adamw", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""},
       reference::adamw},
  };
  return table;
}

}  // namespace tapescope
