// What every layout kernel needs: elements as plain bits, and checked shapes.
#pragma once

#include "kernels/layout/layout.h"

namespace tapescope {

// Calls f with an unsigned integer as wide as the dtype: layout kernels only move bits.
template <class F>
auto with_element(DType dtype, F&& f) {
  switch (size_of(dtype)) {
    case 1:
      return f(std::uint8_t{});
    case 2:
      return f(std::uint16_t{});
    case 4:
      return f(std::uint32_t{});
    default:
      return f(std::uint64_t{});
  }
}

// The bits of `value` in this dtype.
template <class T>
T element_of(DType dtype, double value) {
  std::uint64_t bits = 0;
  switch (dtype) {
    case DType::f32:
      bits = __builtin_bit_cast(std::uint32_t, static_cast<float>(value));
      break;
    case DType::bf16:
      bits = bf16(static_cast<float>(value)).bits;
      break;
    case DType::f64:
      bits = __builtin_bit_cast(std::uint64_t, value);
      break;
    case DType::i64:
      bits = static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
      break;
    case DType::u8:
      bits = static_cast<std::uint8_t>(value);
      break;
  }
  return static_cast<T>(bits);
}

// Throw a usage error where the numbers do not fit the shape.
void check(const PadShape& shape);
void check(const SliceShape& shape);
void check(const TransposeShape& shape);

// Where output pixel `at` of `out` samples an axis of `in` pixels, half-pixel centres, the border
// repeated: (1 - high_weight) * x[low] + high_weight * x[high].
struct LinearTap {
  std::int64_t low, high;
  double high_weight;
};
constexpr LinearTap linear_tap(std::int64_t at, std::int64_t in, std::int64_t out) {
  const double ratio = static_cast<double>(in) / static_cast<double>(out);
  double centre = (static_cast<double>(at) + 0.5) * ratio - 0.5;
  if (centre < 0) centre = 0;
  auto low = static_cast<std::int64_t>(centre);
  if (low > in - 1) low = in - 1;
  const std::int64_t high = low + 1 < in ? low + 1 : low;
  return {low, high, centre - static_cast<double>(low)};
}

}  // namespace tapescope
