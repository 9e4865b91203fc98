// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/log_softmax/simd.h"

#include "kernels/common/simd_columns.h"
#include "kernels/common/simd_math.h"

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

constexpr std::int64_t kSpan = 1024;  // elements summed in f32 before f64 takes over

template <class Op>
float fold(float* lanes) {  // kLanes
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    accumulate<Op>(half, lanes + half, lanes);
  }
  return lanes[0];
}

float row_max(std::int64_t C, const float* x) {
  alignas(64) float lanes[kLanes];
  for (float& lane : lanes) lane = Max::kIdentity;
  std::int64_t c = 0;
  for (; c + kLanes <= C; c += kLanes) accumulate<Max>(kLanes, x + c, lanes);
  accumulate<Max>(C - c, x + c, lanes);
  return fold<Max>(lanes);
}

// Sums f(block, out) over the row in blocks of kLanes. F gets kLanes operands, writes as many
// results to `out` and returns nothing; `padding` fills up the last block and must add 0.
template <class F>
float row_sum(std::int64_t C, const float* a, const float* b, float padding, float* results, F f) {
  double total = 0;
  for (std::int64_t begin = 0; begin < C; begin += kSpan) {
    const std::int64_t end = begin + kSpan < C ? begin + kSpan : C;
    alignas(64) float lanes[kLanes] = {}, value[kLanes], tail_a[kLanes], tail_b[kLanes];
    for (std::int64_t c = begin; c < end; c += kLanes) {
      const std::int64_t count = end - c < kLanes ? end - c : kLanes;
      const float *from_a = a + c, *from_b = b + c;
      if (count < kLanes) {
        for (std::int64_t j = 0; j < kLanes; ++j) tail_a[j] = tail_b[j] = padding;
        __builtin_memcpy(tail_a, from_a, static_cast<std::size_t>(count) * 4);
        __builtin_memcpy(tail_b, from_b, static_cast<std::size_t>(count) * 4);
        from_a = tail_a;
        from_b = tail_b;
      }
#pragma omp simd
      for (std::int64_t j = 0; j < kLanes; ++j) {
        value[j] = f(from_a[j], from_b[j]);
        lanes[j] += value[j];
      }
      if (results == nullptr) continue;
      if (count == kLanes) {
        __builtin_memcpy(results + c, value, sizeof value);
      } else {
        __builtin_memcpy(results + c, value, static_cast<std::size_t>(count) * 4);
      }
    }
    total += static_cast<double>(fold<Sum>(lanes));
  }
  return static_cast<float>(total);
}

// exp is taken in whole blocks.
template <class F>
void map_row(std::int64_t C, const float* a, const float* b, float* y, F f) {
  std::int64_t c = 0;
  for (; c + kLanes <= C; c += kLanes) {
#pragma omp simd
    for (std::int64_t j = 0; j < kLanes; ++j) y[c + j] = f(a[c + j], b[c + j]);
  }
  if (c == C) return;
  const auto bytes = static_cast<std::size_t>(C - c) * 4;
  alignas(64) float tail_a[kLanes] = {}, tail_b[kLanes] = {};
  __builtin_memcpy(tail_a, a + c, bytes);
  __builtin_memcpy(tail_b, b + c, bytes);
#pragma omp simd
  for (std::int64_t j = 0; j < kLanes; ++j) tail_a[j] = f(tail_a[j], tail_b[j]);
  __builtin_memcpy(y + c, tail_a, bytes);
}

// Few columns: 16 rows at a time, a row in each lane. The operands of a block are transposed to
// {C, kLanes}; the last block is filled up with copies of its first row.
constexpr std::int64_t kNarrow = 32;

using NarrowKernel = void (*)(std::int64_t C, const float* a, const float* b, float* y);

void transpose_block(std::int64_t rows, std::int64_t C, const float* x, float* block) {
  for (std::int64_t j = 0; j < kLanes; ++j) {
    const float* row = x + (j < rows ? j : 0) * C;
    for (std::int64_t c = 0; c < C; ++c) block[c * kLanes + j] = row[c];
  }
}

void narrow_rows(std::int64_t rows, std::int64_t C, const float* a, const float* b, float* y,
                 NarrowKernel kernel) {
  alignas(64) float block_a[kNarrow * kLanes], block_b[kNarrow * kLanes], out[kNarrow * kLanes];
  for (std::int64_t r = 0; r < rows; r += kLanes, a += kLanes * C, b += kLanes * C) {
    const std::int64_t count = rows - r < kLanes ? rows - r : kLanes;
    transpose_block(count, C, a, block_a);
    if (b != a) transpose_block(count, C, b, block_b);
    kernel(C, block_a, b == a ? block_a : block_b, out);
    for (std::int64_t j = 0; j < count; ++j, y += C) {
      for (std::int64_t c = 0; c < C; ++c) y[c] = out[c * kLanes + j];
    }
  }
}

// max and sum of exponentials per lane; the exponentials are left in y.
void narrow_normaliser(std::int64_t C, const float* x, float* y, float* max, float* sum) {
  for (std::int64_t j = 0; j < kLanes; ++j) max[j] = Max::kIdentity;
  for (std::int64_t c = 0; c < C; ++c) accumulate<Max>(kLanes, x + c * kLanes, max);
  for (std::int64_t j = 0; j < kLanes; ++j) sum[j] = 0;
  for (std::int64_t c = 0; c < C; ++c, x += kLanes, y += kLanes) {
#pragma omp simd
    for (std::int64_t j = 0; j < kLanes; ++j) {
      y[j] = exp(x[j] - max[j]);
      sum[j] += y[j];
    }
  }
}

void narrow_log_softmax(std::int64_t C, const float* x, const float*, float* y) {
  alignas(64) float max[kLanes], sum[kLanes];
  narrow_normaliser(C, x, y, max, sum);
#pragma omp simd
  for (std::int64_t j = 0; j < kLanes; ++j) sum[j] = log(sum[j]);
  for (std::int64_t c = 0; c < C; ++c, x += kLanes, y += kLanes) {
#pragma omp simd
    for (std::int64_t j = 0; j < kLanes; ++j) y[j] = x[j] - max[j] - sum[j];
  }
}

void narrow_softmax(std::int64_t C, const float* x, const float*, float* y) {
  alignas(64) float max[kLanes], sum[kLanes];
  narrow_normaliser(C, x, y, max, sum);
  for (std::int64_t c = 0; c < C; ++c, y += kLanes) {
#pragma omp simd
    for (std::int64_t j = 0; j < kLanes; ++j) y[j] = y[j] / sum[j];
  }
}

void narrow_log_softmax_gradient(std::int64_t C, const float* dy, const float* y, float* dx) {
  alignas(64) float sum[kLanes] = {};
  for (std::int64_t c = 0; c < C; ++c) accumulate<Sum>(kLanes, dy + c * kLanes, sum);
  for (std::int64_t c = 0; c < C; ++c, dy += kLanes, y += kLanes, dx += kLanes) {
#pragma omp simd
    for (std::int64_t j = 0; j < kLanes; ++j) dx[j] = dy[j] - exp(y[j]) * sum[j];
  }
}

void narrow_softmax_gradient(std::int64_t C, const float* dy, const float* y, float* dx) {
  alignas(64) float dot[kLanes] = {};
  for (std::int64_t i = 0; i < C * kLanes; i += kLanes) {
#pragma omp simd
    for (std::int64_t j = 0; j < kLanes; ++j) dot[j] += dy[i + j] * y[i + j];
  }
  for (std::int64_t c = 0; c < C; ++c, dy += kLanes, y += kLanes, dx += kLanes) {
#pragma omp simd
    for (std::int64_t j = 0; j < kLanes; ++j) dx[j] = y[j] * (dy[j] - dot[j]);
  }
}

void log_softmax(std::int64_t rows, std::int64_t C, const float* x, const float*, float* y) {
  if (C <= kNarrow) return narrow_rows(rows, C, x, x, y, narrow_log_softmax);
  for (std::int64_t r = 0; r < rows; ++r, x += C, y += C) {
    const float max = row_max(C, x);
    const float sum = row_sum(C, x, x, -__builtin_inff(), nullptr,
                              [=](float v, float) TAPESCOPE_LAMBDA { return exp(v - max); });
    const float log_sum = log(sum);
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) y[c] = x[c] - max - log_sum;
  }
}

void softmax(std::int64_t rows, std::int64_t C, const float* x, const float*, float* y) {
  if (C <= kNarrow) return narrow_rows(rows, C, x, x, y, narrow_softmax);
  for (std::int64_t r = 0; r < rows; ++r, x += C, y += C) {
    const float max = row_max(C, x);
    const float sum = row_sum(C, x, x, -__builtin_inff(), y,
                              [=](float v, float) TAPESCOPE_LAMBDA { return exp(v - max); });
#pragma omp simd
    for (std::int64_t c = 0; c < C; ++c) y[c] = y[c] / sum;
  }
}

void log_softmax_gradient(std::int64_t rows, std::int64_t C, const float* dy, const float* y,
                          float* dx) {
  if (C <= kNarrow) return narrow_rows(rows, C, dy, y, dx, narrow_log_softmax_gradient);
  for (std::int64_t r = 0; r < rows; ++r, dy += C, y += C, dx += C) {
    const float sum =
        row_sum(C, dy, dy, 0.0f, nullptr, [](float v, float) TAPESCOPE_LAMBDA { return v; });
    map_row(C, dy, y, dx,
            [=](float v, float log_p) TAPESCOPE_LAMBDA { return v - exp(log_p) * sum; });
  }
}

void softmax_gradient(std::int64_t rows, std::int64_t C, const float* dy, const float* y,
                      float* dx) {
  if (C <= kNarrow) return narrow_rows(rows, C, dy, y, dx, narrow_softmax_gradient);
  for (std::int64_t r = 0; r < rows; ++r, dy += C, y += C, dx += C) {
    const float dot =
        row_sum(C, dy, y, 0.0f, nullptr, [](float v, float p) TAPESCOPE_LAMBDA { return v * p; });
    map_row(C, dy, y, dx, [=](float v, float p) TAPESCOPE_LAMBDA { return p * (v - dot); });
  }
}

}  // namespace

const SoftmaxKernels softmax_kernels = {log_softmax, softmax, log_softmax_gradient,
                                        softmax_gradient};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
