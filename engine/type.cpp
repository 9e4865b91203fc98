#include "engine/type.h"

#include <fmt/ranges.h>

#include "engine/error.h"

namespace tapescope {
std::string_view name_of(DType dtype) {
  constexpr std::string_view kNames[] = {"f32", "bf16", "f64", "i64", "u8"};
  return kNames[static_cast<std::size_t>(dtype)];
}
std::string_view name_of(Precision precision) {
  return precision.tf32 ? "tf32" : name_of(precision.dtype);
}

Shape::Shape(std::span<const std::int64_t> extents) {
  if (extents.size() > static_cast<std::size_t>(kMaxRank)) {
    throw usage_error("a shape has at most {} axes, but {} were given", kMaxRank, extents.size());
  }
  std::int64_t product = 8;  // bytes of the widest dtype: neither elements() nor bytes() overflows
  for (std::int64_t extent : extents) {
    if (extent < 0) throw usage_error("a shape cannot have the negative extent {}", extent);
    if (__builtin_mul_overflow(product, extent > 0 ? extent : 1, &product)) {
      throw usage_error("the shape {{{}}} has too many elements", fmt::join(extents, ", "));
    }
    extents_[static_cast<std::size_t>(rank_++)] = extent;
  }
}

Shape Shape::with_leading(std::int64_t extent) const {
  std::vector<std::int64_t> extents{extent};
  extents.insert(extents.end(), begin(), end());
  return Shape(std::span<const std::int64_t>(extents));
}

std::string to_string(const Shape& shape) { return fmt::format("{{{}}}", fmt::join(shape, ", ")); }

std::string to_string(const Type& type) {
  return std::string(name_of(type.dtype)) + " " + to_string(type.shape);
}

}  // namespace tapescope
