// Which convolution runs where, best first.
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/reference.h"

namespace tapescope {
namespace {
constexpr DTypes kReference{DType::f32, DType::f64, DType::bf16};
constexpr std::string_view kReferenceNote = "loops as the textbook writes them; the oracle";
}  // namespace

std::span<const Variant<Conv2dShape>> conv2d_variants() {
  static const Variant<Conv2dShape> table[] = {
      {{"conv2d", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""},
       reference::conv2d},
  };
  return table;
}

std::span<const Variant<Conv2dShape>> conv2d_data_gradient_variants() {
  static const Variant<Conv2dShape> table[] = {
      {{"conv2d_data_gradient", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""},
       reference::conv2d_data_gradient},
  };
  return table;
}

std::span<const Variant<Conv2dShape>> conv2d_weight_gradient_variants() {
  static const Variant<Conv2dShape> table[] = {
      {{"conv2d_weight_gradient", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""},
       reference::conv2d_weight_gradient},
  };
  return table;
}

}  // namespace tapescope
