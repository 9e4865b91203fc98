// The list of kernel families. A new family is one line here.
#include "kernels/common/variant.h"
#include "kernels/conv2d/conv2d.h"

namespace tapescope {
namespace {
template <class Shape>
void append(std::vector<VariantInfo>& all, std::span<const Variant<Shape>> table) {
  all.insert(all.end(), table.begin(), table.end());
}
}  // namespace

std::vector<VariantInfo> all_variants() {
  std::vector<VariantInfo> all;
  append(all, conv2d_variants());
  append(all, conv2d_data_gradient_variants());
  append(all, conv2d_weight_gradient_variants());
  return all;
}

}  // namespace tapescope
