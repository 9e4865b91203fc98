// Compiled once per instruction set: no STL, no inline function from elsewhere but intrinsics,
// which the compiler never emits as functions.
#include "kernels/dropout/simd.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

// Products of the lower halves of 64-bit lanes: one instruction, which plain C++ does not reach.
#if defined(TAPESCOPE_ISA_avx512)
constexpr int kBytes = 64;
#define TAPESCOPE_MULTIPLY(a, b) (Words) _mm512_maskz_mul_epu32(0xff, (__m512i)(a), (__m512i)(b))
#elif defined(TAPESCOPE_ISA_avx2)
constexpr int kBytes = 32;
#define TAPESCOPE_MULTIPLY(a, b) (Words) _mm256_mul_epu32((__m256i)(a), (__m256i)(b))
#elif defined(__x86_64__)
constexpr int kBytes = 16;
#define TAPESCOPE_MULTIPLY(a, b) (Words) _mm_mul_epu32((__m128i)(a), (__m128i)(b))
#else
constexpr int kBytes = 16;
#define TAPESCOPE_MULTIPLY(a, b) (((a)&0xffffffffu) * ((b)&0xffffffffu))
#endif

constexpr int kLanes = kBytes / 8;                     // Philox counters a vector holds
constexpr int kGroups = 2;                             // vectors side by side: hides the multiplier
constexpr std::int64_t kBlock = 4 * kLanes * kGroups;  // elements they cover

typedef std::uint64_t Words __attribute__((vector_size(kBytes)));
typedef std::int32_t Integers __attribute__((vector_size(kBytes)));
typedef float Floats __attribute__((vector_size(kBytes), aligned(4), may_alias));

// Philox4x32-10 (engine/philox.h) for counters (row, begin / 4 + k, 0). Words are held in 64-bit
// lanes, of which the upper halves are never read.
void block(const DropoutRow& row, std::int64_t begin, const float* x, float* y) {
  Words c0[kGroups], c1[kGroups], c2[kGroups], c3[kGroups];
  for (int g = 0; g < kGroups; ++g) {
    c0[g] = Words{} + (row.row & 0xffffffffu);
    c1[g] = Words{} + (row.row >> 32);
    c2[g] = Words{} + static_cast<std::uint64_t>(begin / 4 + g * kLanes);
    for (int k = 0; k < kLanes; ++k) c2[g][k] += static_cast<std::uint64_t>(k);
    c3[g] = Words{};
  }
  std::uint32_t key0 = row.key0, key1 = row.key1;
  const Words multiplier0 = Words{} + 0xD2511F53u, multiplier1 = Words{} + 0xCD9E8D57u;
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const Words k0 = Words{} + key0, k1 = Words{} + key1;
    for (int g = 0; g < kGroups; ++g) {
      const Words product0 = TAPESCOPE_MULTIPLY(c0[g], multiplier0);
      const Words product1 = TAPESCOPE_MULTIPLY(c2[g], multiplier1);
      c0[g] = (product1 >> 32) ^ c1[g] ^ k0;
      c1[g] = product1;
      c2[g] = (product0 >> 32) ^ c3[g] ^ k1;
      c3[g] = product0;
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  Words low_half, high_half;  // which 64-bit pairs make the first and the second output vector
  for (int k = 0; k < kLanes / 2; ++k) {
    const auto at = static_cast<std::uint64_t>(k), lanes = static_cast<std::uint64_t>(kLanes);
    low_half[2 * k] = at;
    low_half[2 * k + 1] = at + lanes;
    high_half[2 * k] = at + lanes / 2;
    high_half[2 * k + 1] = at + lanes / 2 + lanes;
  }
  const Integers threshold = Integers{} + static_cast<std::int32_t>(row.threshold);
  for (int g = 0; g < kGroups; ++g) {
    const Words first = (c0[g] & 0xffffffffu) | (c1[g] << 32);   // elements 4k, 4k + 1
    const Words second = (c2[g] & 0xffffffffu) | (c3[g] << 32);  // elements 4k + 2, 4k + 3
    const Words pairs[2] = {__builtin_shuffle(first, second, low_half),
                            __builtin_shuffle(first, second, high_half)};
    for (int half = 0; half < 2; ++half) {
      typedef std::uint32_t Unsigned __attribute__((vector_size(kBytes)));
      const Integers top = (Integers)((Unsigned)pairs[half] >> 8);
      const std::int64_t at = (2 * g + half) * 2 * kLanes;
      const Floats value = *reinterpret_cast<const Floats*>(x + at) * row.scale;
      *reinterpret_cast<Floats*>(y + at) = top >= threshold ? value : Floats{};
    }
  }
}

void run(const DropoutRow& row, std::int64_t begin, std::int64_t n, const float* x, float* y) {
  std::int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock) block(row, begin + i, x + i, y + i);
  if (i == n) return;
  float buffer[kBlock] = {};
  const auto bytes = static_cast<std::size_t>(n - i) * sizeof(float);
  __builtin_memcpy(buffer, x + i, bytes);
  block(row, begin + i, buffer, buffer);
  __builtin_memcpy(y + i, buffer, bytes);
}

}  // namespace

const DropoutKernels dropout_kernels = {run};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
