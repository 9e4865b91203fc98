// Which dropout runs where, best first.
#include "kernels/dropout/dropout.h"
#include "kernels/dropout/reference.h"
#include "kernels/dropout/simd_plan.h"

namespace tapescope {

std::span<const Variant<DropoutShape>> dropout_variants() {
  static constexpr Variant<DropoutShape> table[] = {
      {{"dropout",
        "simd",
        DeviceKind::cpu,
        {DType::f32},
        1,
        "sixteen Philox blocks side by side in vectors; the same bits",
        ""},
       simd::dropout},
      {{"dropout",
        "reference",
        DeviceKind::cpu,
        {DType::f32, DType::f64, DType::bf16},
        1,
        "one Philox block an element; the oracle",
        ""},
       reference::dropout},
  };
  return table;
}

}  // namespace tapescope
