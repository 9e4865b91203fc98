// Elementary functions of floats that loops marked `omp simd` can hold: no branches, no calls.
// For kernels/<family>/simd.cpp only: everything here is in the namespace of the instruction set.
//
// Worst errors, against correctly rounded results: exp 1 ulp, log 1, expm1 2, log1p 2, tanh 2,
// erf 2, logistic 2. The polynomials are least-maximum fits (Lawson's iteration) made
// for this file.
#pragma once

#include <cstdint>

#ifndef TAPESCOPE_ISA
#error "simd_math.h is for files compiled once per instruction set"
#endif
#define TAPESCOPE_INLINE static inline __attribute__((always_inline))
#define TAPESCOPE_LAMBDA __attribute__((always_inline))  // after the parameters of a lambda

namespace tapescope {
namespace TAPESCOPE_ISA {

TAPESCOPE_INLINE std::uint32_t bits_of(float x) { return __builtin_bit_cast(std::uint32_t, x); }
TAPESCOPE_INLINE float float_of(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }
TAPESCOPE_INLINE float fabs(float x) { return float_of(bits_of(x) & 0x7fffffffu); }
TAPESCOPE_INLINE float sqrt(float x) { return __builtin_sqrtf(x); }

// x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite). Adding 1.5 * 2^23 rounds to an integer and
// leaves it in the low bits.
struct Reduced {
  float expm1;      // e^r - 1
  std::uint32_t n;  // two's complement
};
TAPESCOPE_INLINE Reduced reduce_exponent(float x) {
  const float shifted = x * 1.44269504f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  const float r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
  float p = 1.381313195e-03f;
  p = p * r + 8.369419724e-03f;
  p = p * r + 4.166845605e-02f;
  p = p * r + 1.666651517e-01f;
  p = p * r + 4.999999404e-01f;
  return {r + r * r * p, bits_of(shifted) - 0x4b400000u};
}

TAPESCOPE_INLINE float exp(float x) {
  x = x > 89.0f ? 89.0f : x;
  x = x < -104.0f ? -104.0f : x;
  const Reduced t = reduce_exponent(x);
  // 2^n as a product of two, so that results may be denormal or overflow.
  const std::uint32_t half = static_cast<std::uint32_t>(static_cast<std::int32_t>(t.n) >> 1);
  const float first = float_of((half + 127u) << 23), second = float_of((t.n - half + 127u) << 23);
  return (first + first * t.expm1) * second;
}

// For x <= 88.
TAPESCOPE_INLINE float expm1(float x) {
  x = x > 88.0f ? 88.0f : x;
  x = x < -30.0f ? -30.0f : x;
  const Reduced t = reduce_exponent(x);
  const float power = float_of((t.n + 127u) << 23);
  return power * t.expm1 + (power - 1.0f);
}

TAPESCOPE_INLINE float log(float x) {
  const bool denormal = x < 1.17549435e-38f;
  const std::uint32_t bits = bits_of(denormal ? x * 8388608.0f : x);
  // x = 2^e m with m in [sqrt(1/2), sqrt(2))
  const std::int32_t e = static_cast<std::int32_t>(bits - 0x3f3504f3u) >> 23;
  const float f = float_of(bits - (static_cast<std::uint32_t>(e) << 23)) - 1.0f;
  const float exponent = static_cast<float>(e) - (denormal ? 23.0f : 0.0f);
  float q = -7.645713538e-02f;
  q = q * f + 1.277895719e-01f;
  q = q * f + -1.316426098e-01f;
  q = q * f + 1.419972181e-01f;
  q = q * f + -1.662275940e-01f;
  q = q * f + 2.000129074e-01f;
  q = q * f + -2.500083745e-01f;
  q = q * f + 3.333333135e-01f;
  const float tail = f * f * (q * f - 0.5f) + exponent * 1.42860677e-6f;
  float y = exponent * 0.693145752f + (f + tail);
  y = x == __builtin_inff() ? x : y;
  y = x == 0.0f ? -__builtin_inff() : y;
  return x >= 0.0f ? y : __builtin_nanf("");
}

// For 0 <= x: log(1 + x), corrected for what the rounding of 1 + x lost.
TAPESCOPE_INLINE float log1p(float x) {
  const float u = 1.0f + x, d = u - 1.0f;
  return d == 0.0f ? x : log(u) * (x / d);
}

TAPESCOPE_INLINE float logistic(float x) { return 1.0f / (1.0f + exp(-x)); }

TAPESCOPE_INLINE float tanh(float x) {
  float t = x > 10.0f ? 10.0f : x;
  t = t < -10.0f ? -10.0f : t;
  const float e = expm1(2.0f * t);
  return e / (e + 2.0f);
}

TAPESCOPE_INLINE float erf(float x) {
  float t = fabs(x);
  const float s = x * x;
  float p = 7.898647164e-05f;
  p = p * s + -8.024803828e-04f;
  p = p * s + 5.190160591e-03f;
  p = p * s + -2.685491554e-02f;
  p = p * s + 1.128361747e-01f;
  p = p * s + -3.761262894e-01f;
  p = p * s + 1.283791661e-01f;
  const float near = t + t * p;
  t = t > 4.0f ? 4.0f : t;
  float q = 1.876098977e-04f;  // log(1 - erf(t)) for 1 <= t <= 4
  q = q * t + -2.960162470e-03f;
  q = q * t + 2.188982815e-02f;
  q = q * t + -1.032185778e-01f;
  q = q * t + -6.380118132e-01f;
  q = q * t + -1.127171874e+00f;
  q = q * t + -3.205163521e-04f;
  const float far = 1.0f - exp(q);
  const float y = t < 1.0f ? near : far;
  return float_of(bits_of(y) | (bits_of(x) & 0x80000000u));
}

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
