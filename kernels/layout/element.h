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

}  // namespace tapescope
