// Which softmax runs where, best first.
#include "kernels/log_softmax/log_softmax.h"
#include "kernels/log_softmax/reference.h"

namespace tapescope {
namespace {

constexpr VariantInfo reference_info(std::string_view family) {
  return {family,
          "reference",
          DeviceKind::cpu,
          {DType::f32, DType::f64, DType::bf16},
          1,
          "loops as the textbook writes them; the oracle",
          ""};
}

}  // namespace

std::span<const Variant<SoftmaxShape>> log_softmax_variants() {
  static constexpr Variant<SoftmaxShape> table[] = {
      {reference_info("log_softmax"), reference::log_softmax},
  };
  return table;
}

std::span<const Variant<SoftmaxShape>> softmax_variants() {
  static constexpr Variant<SoftmaxShape> table[] = {
      {reference_info("softmax"), reference::softmax},
  };
  return table;
}

std::span<const Variant<SoftmaxShape>> log_softmax_gradient_variants() {
  static constexpr Variant<SoftmaxShape> table[] = {
      {reference_info("log_softmax_gradient"), reference::log_softmax_gradient},
  };
  return table;
}

std::span<const Variant<SoftmaxShape>> softmax_gradient_variants() {
  static constexpr Variant<SoftmaxShape> table[] = {
      {reference_info("softmax_gradient"), reference::softmax_gradient},
  };
  return table;
}

}  // namespace tapescope
