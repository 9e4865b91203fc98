// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/more_ops/cast/simd.h"

#include "kernels/common/simd_bf16.h"

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

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

const CastKernels cast_kernels = {convert<float, Half, to_half>,
                                  convert<Half, float, number>,
                                  convert<float, double, plain<double, float>>,
                                  convert<double, float, plain<float, double>>,
                                  convert<std::uint8_t, float, plain<float, std::uint8_t>>,
                                  convert<std::int64_t, float, plain<float, std::int64_t>>};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
