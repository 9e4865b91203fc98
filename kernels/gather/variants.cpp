// Which gather runs where. Plain loops are as fast as memory here, so there is one variant each.
#include "kernels/gather/gather.h"
#include "kernels/gather/reference.h"

namespace tapescope {
namespace {

constexpr VariantInfo reference_info(std::string_view family) {
  return {family,
          "reference",
          DeviceKind::cpu,
          {DType::f32, DType::f64, DType::bf16},
          1,
          "one row at a time, indices checked",
          ""};
}

}  // namespace

std::span<const Variant<GatherShape>> gather_rows_element_variants() {
  static constexpr Variant<GatherShape> table[] = {
      {reference_info("gather_rows_element"), reference::gather_rows_element}};
  return table;
}

std::span<const Variant<GatherShape>> scatter_rows_element_variants() {
  static constexpr Variant<GatherShape> table[] = {
      {reference_info("scatter_rows_element"), reference::scatter_rows_element}};
  return table;
}

std::span<const Variant<GatherShape>> one_hot_variants() {
  static constexpr Variant<GatherShape> table[] = {{reference_info("one_hot"), reference::one_hot}};
  return table;
}

}  // namespace tapescope
