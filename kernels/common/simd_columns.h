// Sums and maxima down the columns of a {rows, columns} block of floats, or of bf16 as floats.
// For kernels/<family>/simd.cpp only: everything here is in the namespace of the instruction set.
#pragma once

#include "kernels/common/simd_bf16.h"

namespace tapescope {
namespace TAPESCOPE_ISA {

#if defined(TAPESCOPE_ISA_avx512)
constexpr int kVectorBytes = 64;
#elif defined(TAPESCOPE_ISA_avx2)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
constexpr std::int64_t kWidth = kVectorBytes / 4;
typedef float Vector __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));

struct Sum {
  using Total = double;
  static constexpr float kIdentity = 0.0f;
  template <class V>
  static inline __attribute__((always_inline)) V apply(V a, V b) {
    return a + b;
  }
};
struct Max {  // NaN wins
  using Total = float;
  static constexpr float kIdentity = -__builtin_inff();
  template <class V>
  static inline __attribute__((always_inline)) V apply(V a, V b) {
    return (a > b) | (a != a) ? a : b;
  }
};

constexpr std::int64_t kLanes = 16;          // elements: whole vectors on every instruction set
constexpr std::int64_t kNarrowColumns = 64;  // up to here rows are folded together

TAPESCOPE_INLINE Vector load_vector(const float* x) { return *reinterpret_cast<const Vector*>(x); }
typedef std::uint16_t HalfVector
    __attribute__((vector_size(kVectorBytes / 2), aligned(2), may_alias));
typedef std::uint32_t BitsVector __attribute__((vector_size(kVectorBytes)));
TAPESCOPE_INLINE Vector load_vector(const Half* x) {
  const HalfVector halves = *reinterpret_cast<const HalfVector*>(x);
  return (Vector)(__builtin_convertvector(halves, BitsVector) << 16);
}
TAPESCOPE_INLINE void store_vector(Vector value, float* to) {
  *reinterpret_cast<Vector*>(to) = value;
}
TAPESCOPE_INLINE void store_vector(Vector value, Half* to) {  // to_half() of each
  const BitsVector bits = (BitsVector)value, upper = bits >> 16;
  const BitsVector rounded = (bits + 0x7fffu + (upper & 1u)) >> 16;
  const BitsVector half = (bits & 0x7fffffffu) > 0x7f800000u ? upper | 0x40u : rounded;
  *reinterpret_cast<HalfVector*>(to) = __builtin_convertvector(half, HalfVector);
}

template <class Op, class T>
inline __attribute__((always_inline)) void combine4(const T* x, std::int64_t stride,
                                                    Vector& total) {
  const auto at = [=](std::int64_t k) { return load_vector(x + k * stride); };
  total = Op::apply(total, Op::apply(Op::apply(at(0), at(1)), Op::apply(at(2), at(3))));
}

// total[j] (+)= x[j] for j < n.
template <class Op, class T>
void accumulate(std::int64_t n, const T* x, float* total) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) total[j] = Op::apply(total[j], number(x[j]));
}

// Fewer columns than fill the vectors: a group of 16 * copies rows is taken as one long row of
// whole vectors, and the results of a group are folded at the end.
constexpr std::int64_t kGroupElements = kNarrowColumns * kLanes;

// How many times 16 rows make a group: enough vectors to hide the latency of an addition, and no
// more than there are rows.
inline std::int64_t group_copies(std::int64_t rows, std::int64_t columns) {
  const std::int64_t copies = columns >= 8 ? 1 : (7 + columns) / columns;
  return copies < rows / kLanes ? copies : rows / kLanes;
}

// total is {copies, 16, columns}: out[c] is its reduction. Destroys total.
template <class Op>
void fold_group(std::int64_t copies, std::int64_t columns, float* total, float* out) {
  for (std::int64_t copy = 1; copy < copies; ++copy) {
    accumulate<Op>(kLanes * columns, total + copy * kLanes * columns, total);
  }
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    accumulate<Op>(half * columns, total + half * columns, total);
  }
  for (std::int64_t c = 0; c < columns; ++c) out[c] = total[c];
}

template <class Op, class T>
void reduce_narrow(std::int64_t rows, std::int64_t columns, const T* x, float* out) {
  const std::int64_t copies = group_copies(rows, columns);
  const std::int64_t group = kLanes * copies, length = group * columns;
  alignas(64) float total[kGroupElements];
  for (std::int64_t j = 0; j < length; ++j) total[j] = Op::kIdentity;
  std::int64_t row = 0;
  for (; row + 4 * group <= rows; row += 4 * group, x += 4 * length) {
    for (std::int64_t j = 0; j < length; j += kWidth) {
      combine4<Op>(x + j, length, *reinterpret_cast<Vector*>(total + j));
    }
  }
  for (; row + group <= rows; row += group, x += length) accumulate<Op>(length, x, total);
  accumulate<Op>((rows - row) * columns, x, total);
  fold_group<Op>(copies, columns, total, out);
}

// One column: 64 accumulators in registers, folded after every 4096 elements.
template <class Op, class T>
float reduce_contiguous(std::int64_t n, const T* x) {
  constexpr std::int64_t kLength = 64, kSpan = 4096, kVectors = kLength / kWidth;
  typename Op::Total result = Op::kIdentity;
  while (n > 0) {
    const std::int64_t span = n < kSpan ? n : kSpan;
    Vector total[kVectors];
    for (std::int64_t v = 0; v < kVectors; ++v) total[v] = Vector{} + Op::kIdentity;
    std::int64_t i = 0;
    for (; i + kLength <= span; i += kLength) {
      for (std::int64_t v = 0; v < kVectors; ++v) {
        total[v] = Op::apply(total[v], load_vector(x + i + v * kWidth));
      }
    }
    alignas(64) float lanes[kLength];
    __builtin_memcpy(lanes, total, sizeof lanes);
    accumulate<Op>(span - i, x + i, lanes);
    for (std::int64_t half = kLength / 2; half > 0; half /= 2) {
      accumulate<Op>(half, lanes + half, lanes);
    }
    result = Op::apply(result, static_cast<typename Op::Total>(lanes[0]));
    x += span;
    n -= span;
  }
  return static_cast<float>(result);
}

template <class Op, class T>
void reduce_wide(std::int64_t rows, std::int64_t columns, std::int64_t stride, const T* x,
                 float* out) {
  for (std::int64_t c = 0; c < columns; ++c) out[c] = Op::kIdentity;
  std::int64_t row = 0;
  for (; row + 4 <= rows; row += 4, x += 4 * stride) {
#pragma omp simd
    for (std::int64_t c = 0; c < columns; ++c) {
      const float low = Op::apply(number(x[c]), number(x[c + stride]));
      const float high = Op::apply(number(x[c + 2 * stride]), number(x[c + 3 * stride]));
      out[c] = Op::apply(out[c], Op::apply(low, high));
    }
  }
  for (; row < rows; ++row, x += stride) accumulate<Op>(columns, x, out);
}

// One column of few rows, for several of them: out[k] = reduction of x[k * rows + r] over r < rows.
template <class Op, class T>
void reduce_short(std::int64_t count, std::int64_t rows, const T* x, float* out) {
  std::int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes, x += kLanes * rows) {
    alignas(64) float total[kLanes];
    for (std::int64_t j = 0; j < kLanes; ++j) total[j] = Op::kIdentity;
    for (std::int64_t r = 0; r < rows; ++r) {
#pragma omp simd
      for (std::int64_t j = 0; j < kLanes; ++j)
        total[j] = Op::apply(total[j], number(x[j * rows + r]));
    }
    for (std::int64_t j = 0; j < kLanes; ++j) out[k + j] = total[j];
  }
  for (; k < count; ++k, x += rows) {
    float total = Op::kIdentity;
    for (std::int64_t r = 0; r < rows; ++r) total = Op::apply(total, number(x[r]));
    out[k] = total;
  }
}

// out[c] = reduction of x[r * stride + c] over r < rows. The order of additions depends on rows
// and columns only.
template <class Op, class T>
void reduce_columns(std::int64_t rows, std::int64_t columns, std::int64_t stride, const T* x,
                    float* out) {
  if (columns == 1 && stride == 1) {
    *out = reduce_contiguous<Op>(rows, x);
  } else if (columns <= kNarrowColumns && stride == columns && rows >= kLanes) {
    reduce_narrow<Op>(rows, columns, x, out);
  } else {
    reduce_wide<Op>(rows, columns, stride, x, out);
  }
}

// The same for `count` blocks, one behind the other: out is {count, columns}.
template <class Op, class T>
void reduce_blocks(std::int64_t count, std::int64_t rows, std::int64_t columns, const T* x,
                   float* out) {
  if (columns == 1 && rows < kLanes) {
    reduce_short<Op>(count, rows, x, out);
    return;
  }
  for (std::int64_t k = 0; k < count; ++k) {
    reduce_columns<Op>(rows, columns, columns, x + k * rows * columns, out + k * columns);
  }
}

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
