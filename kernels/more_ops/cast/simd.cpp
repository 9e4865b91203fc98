// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/more_ops/cast/simd.h"

#include "kernels/common/simd_math.h"

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

// Rounds to nearest even by adding half of the last place kept; a NaN stays one.
TAPESCOPE_INLINE std::uint16_t to_bf16(float x) {
  const std::uint32_t bits = bits_of(x);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const std::uint32_t nan = (bits >> 16) | 0x40u;
  return static_cast<std::uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}
TAPESCOPE_INLINE float from_bf16(std::uint16_t bits) {
  return float_of(static_cast<std::uint32_t>(bits) << 16);
}
template <class To, class From>
TAPESCOPE_INLINE To plain(From x) {
  return static_cast<To>(x);
}

template <class From, class To, To (*kConvert)(From)>
void convert(std::int64_t n, const void* from, void* to) {
  const From* x = static_cast<const From*>(from);
  To* y = static_cast<To*>(to);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) y[i] = kConvert(x[i]);
}

}  // namespace

const CastKernels cast_kernels = {convert<float, std::uint16_t, to_bf16>,
                                  convert<std::uint16_t, float, from_bf16>,
                                  convert<float, double, plain<double, float>>,
                                  convert<double, float, plain<float, double>>,
                                  convert<std::uint8_t, float, plain<float, std::uint8_t>>,
                                  convert<std::int64_t, float, plain<float, std::int64_t>>};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
