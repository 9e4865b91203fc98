// Which element-wise kernel runs where, best first.
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/reference.h"

namespace tapescope {
namespace {
constexpr DTypes kReference{DType::f32, DType::f64, DType::bf16};
constexpr std::string_view kReferenceNote = "one libm call an element; the oracle";
}  // namespace

std::span<const Variant<UnaryShape>> unary_variants() {
  static constexpr Variant<UnaryShape> table[] = {
      {{"unary", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""},
       reference::unary},
  };
  return table;
}

std::span<const Variant<BinaryShape>> binary_variants() {
  static constexpr Variant<BinaryShape> table[] = {
      {{"binary", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""},
       reference::binary},
  };
  return table;
}

}  // namespace tapescope
