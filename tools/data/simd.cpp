// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "tools/data/simd.h"

#if defined(TAPESCOPE_ISA_avx2) || defined(TAPESCOPE_ISA_avx512)
#include <immintrin.h>
#endif

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

std::uint8_t to_pixel(std::int32_t sum) {
  sum >>= kWeightBits;
  return static_cast<std::uint8_t>(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

// out[i] = the sum over k of weight[k] * in[k * step + i], rounded, of kLanes values.
#if defined(TAPESCOPE_ISA_avx2) || defined(TAPESCOPE_ISA_avx512)
inline void sum(const std::uint8_t* in, std::ptrdiff_t step, const std::int32_t* weight, int count,
                std::uint8_t* out) {
  __m256i low = _mm256_set1_epi32(1 << (kWeightBits - 1));
  __m256i high = low;
  for (int k = 0; k < count; ++k, in += step) {
    const __m128i pixels = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in));
    const __m256i w = _mm256_set1_epi32(weight[k]);
    low = _mm256_add_epi32(low, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(pixels), w));
    const __m128i rest = _mm_srli_si128(pixels, 8);
    high = _mm256_add_epi32(high, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(rest), w));
  }
  const __m256i mixed =
      _mm256_packs_epi32(_mm256_srai_epi32(low, kWeightBits), _mm256_srai_epi32(high, kWeightBits));
  const __m256i words = _mm256_permute4x64_epi64(mixed, 0xd8);  // packing goes by halves
  const __m128i bytes =
      _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
}
#else
inline void sum(const std::uint8_t* in, std::ptrdiff_t step, const std::int32_t* weight, int count,
                std::uint8_t* out) {
  std::int32_t sums[kLanes];
  for (std::int32_t& one : sums) one = 1 << (kWeightBits - 1);
  for (int k = 0; k < count; ++k, in += step) {
    const std::int32_t w = weight[k];
    for (int i = 0; i < kLanes; ++i) sums[i] += w * in[i];
  }
  for (int i = 0; i < kLanes; ++i) out[i] = to_pixel(sums[i]);
}
#endif

void rows(const std::uint8_t* in, std::ptrdiff_t stride, const std::int32_t* weight, int count,
          int n, std::uint8_t* out) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) sum(in + i, stride, weight, count, out + i);
  if (i < n && n >= kLanes) {
    sum(in + n - kLanes, stride, weight, count, out + n - kLanes);
    return;
  }
  for (; i < n; ++i) {
    std::int32_t one = 1 << (kWeightBits - 1);
    for (int k = 0; k < count; ++k) one += weight[k] * in[k * stride + i];
    out[i] = to_pixel(one);
  }
}

// scratch: u8 {columns, kLanes} from column `first` on; of three channels four rows of four each.
void side_by_side(const std::uint8_t* in, std::ptrdiff_t stride, int rows, int channels, int first,
                  int end, std::uint8_t* scratch) {
  for (int r = 0; r < rows; ++r) {
    const std::uint8_t* row = in + r * stride;
    if (channels == 1) {
      for (int x = first; x < end; ++x) scratch[x * kLanes + r] = row[x];
      continue;
    }
    for (int x = first; x < end - 1; ++x) {
      __builtin_memcpy(scratch + x * kLanes + 4 * r, row + 3 * x, 4);
    }
    __builtin_memcpy(scratch + (end - 1) * kLanes + 4 * r, row + 3 * (end - 1), 3);
  }
}

// Pixel x of each row, out of what was summed side by side.
inline void apart(const std::uint8_t* summed, int rows, int channels, int x, int width,
                  std::uint8_t* out) {
  const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(width) * channels;
  out += x * channels;
  if (channels == 1) {
    for (int r = 0; r < rows; ++r) out[r * stride] = summed[r];
  } else if (x + 1 < width) {  // the spare byte falls on the next pixel, which comes after
    for (int r = 0; r < rows; ++r) __builtin_memcpy(out + r * stride, summed + 4 * r, 4);
  } else {
    for (int r = 0; r < rows; ++r) __builtin_memcpy(out + r * stride, summed + 4 * r, 3);
  }
}

void columns(const std::uint8_t* in, std::ptrdiff_t stride, int rows, int channels,
             const ResizeTaps& taps, int width, std::uint8_t* scratch, std::uint8_t* out) {
  const int at_once = channels == 1 ? kLanes : kLanes / 4;
  const int end = taps.first[width - 1] + taps.count[width - 1];
  for (int top = 0; top < rows; top += at_once) {
    const int here = rows - top < at_once ? rows - top : at_once;
    side_by_side(in + top * stride, stride, here, channels, taps.first[0], end, scratch);
    for (int x = 0; x < width; ++x) {
      alignas(kLanes) std::uint8_t summed[kLanes];
      sum(scratch + taps.first[x] * kLanes, kLanes, taps.weight + x * taps.most, taps.count[x],
          summed);
      apart(summed, here, channels, x, width,
            out + static_cast<std::ptrdiff_t>(top) * width * channels);
    }
  }
}

}  // namespace

extern const ResizeKernels resize_kernels;
const ResizeKernels resize_kernels = {rows, columns};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
