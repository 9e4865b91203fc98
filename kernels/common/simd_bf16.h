// bf16 in loops that compute in f32: elements of either dtype are read and written as floats.
// For kernels/<family>/simd.cpp only: everything here is in the namespace of the instruction set.
#pragma once

#include "kernels/common/simd_math.h"

namespace tapescope {
namespace TAPESCOPE_ISA {

// bf16 as it lies in memory: a type of its own, which no integer is taken for.
enum class Half : std::uint16_t {};

TAPESCOPE_INLINE float number(float x) { return x; }
TAPESCOPE_INLINE float number(Half x) { return float_of(static_cast<std::uint32_t>(x) << 16); }

// Rounds to nearest even by adding half of the last place kept; a NaN stays one.
TAPESCOPE_INLINE Half to_half(float x) {
  const std::uint32_t bits = bits_of(x);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const std::uint32_t nan = (bits >> 16) | 0x40u;
  return static_cast<Half>((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}
// An operand of elements T, read as floats.
template <class T>
struct Numbers {
  const T* data;
  explicit Numbers(const void* memory) : data(static_cast<const T*>(memory)) {}
  inline __attribute__((always_inline)) float operator[](std::int64_t i) const {
    return number(data[i]);
  }
};
TAPESCOPE_INLINE void put(float value, float& to) { to = value; }
TAPESCOPE_INLINE void put(float value, Half& to) { to = to_half(value); }

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
