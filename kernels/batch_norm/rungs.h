// What batch normalisation's rungs share, and those that have files of their own.
#pragma once

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/common/gpu.h"
#include "kernels/common/vector.h"

namespace tapescope::TAPESCOPE_GPU {

// tiled.cu; `relu`: of the families with one.
Plan batch_norm_training_tiled(const BatchNormShape& shape, bool relu);
Plan batch_norm_inference_tiled(const BatchNormShape& shape);
Plan batch_norm_gradient_tiled(const BatchNormShape& shape, bool relu);
bool batch_norm_fits_tiles(const BatchNormShape& shape);

namespace batch_norm {

constexpr unsigned kThreads = 256;

template <class T>
__device__ float number(const T* x, std::int64_t i) {
  return static_cast<float>(x[i]);
}
// An optional {C} operand.
template <class T>
__device__ float number_or(const T* x, std::int64_t c, float otherwise) {
  return x != nullptr ? static_cast<float>(x[c]) : otherwise;
}

// How many values, their mean, and the sum of their squared distances from it.
struct Moments {
  double count, mean, squares;
};
__device__ inline Moments merged(Moments a, Moments b) {
  if (b.count == 0) return a;
  const double count = a.count + b.count, share = b.count / count, apart = b.mean - a.mean;
  return {count, a.mean + apart * share, a.squares + b.squares + apart * apart * (a.count * share)};
}

// One formula for what is written and for the sign of it that a gradient asks for again.
__device__ inline float normalised(float x, float mean, float factor, float offset) {
  return (x - mean) * factor + offset;
}

// What follows the normalisation: nothing, or r {rows, C} (or null) is added and y is from 0 to
// top. factor and offset {C} keep what normalised.
template <class T>
struct Relu {
  bool on = false;
  const T* r = nullptr;
  float* factor = nullptr;
  float* offset = nullptr;
  float top = 0;
};
template <class T>
__device__ T finished(const Relu<T>& relu, float y, std::int64_t i) {
  if (!relu.on) return static_cast<T>(y);
  if (relu.r != nullptr) y += number(relu.r, i);
  return static_cast<T>(y < 0 ? 0.0f : relu.top > 0 && y > relu.top ? relu.top : y);
}

// What of dy counts: all of it, or where a relu behind the normalisation let x pass. factor,
// offset: {C} or null
template <class T>
struct Passed {
  const T *dy, *x;
  const float *mean, *factor, *offset;
  float top;  // of a bounded one, else 0
  __device__ float operator()(std::int64_t i, std::int64_t c) const {
    if (factor == nullptr) return number(dy, i);
    const float z = normalised(number(x, i), number(mean, c), number(factor, c), number(offset, c));
    const bool passes = top > 0 ? z >= 0 && z <= top : z > 0;
    return passes ? number(dy, i) : 0.0f;
  }
};
// dr = dy where y > 0, else 0. One thread per `Width` elements, n packs in all.
template <class T, int Width>
__global__ void pass_positive(const T* dy, const T* y, T* dr, std::int64_t n) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * Width;
  if (i >= n * Width) return;
  auto d = load_pack<T, Width>(dy + i);
  const auto result = load_pack<T, Width>(y + i);
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) {
    if (!(static_cast<float>(result[k]) > 0)) d[k] = T{};
  }
  store_pack(dr + i, d);
}

// Sums over rows of what counts of dy and of its product with xhat.
struct Sums {
  double dy, product;
};
// dx = factor * (dy - dshift / rows - xhat * dscale / rows)
struct GradientChannel {
  float mean, inverse, factor, mean_dy, mean_product;
};
__device__ inline GradientChannel gradient_channel(Sums all, const float* mean,
                                                   const float* variance, const float* scale,
                                                   float* dscale, float* dshift, std::int64_t c,
                                                   double rows, double eps) {
  if (dshift != nullptr) dshift[c] = static_cast<float>(all.dy);
  if (dscale != nullptr) dscale[c] = static_cast<float>(all.product);
  const double inverse = 1 / sqrt(static_cast<double>(number(variance, c)) + eps);
  return {number(mean, c), static_cast<float>(inverse),
          static_cast<float>(static_cast<double>(number_or(scale, c, 1)) * inverse),
          static_cast<float>(all.dy / rows), static_cast<float>(all.product / rows)};
}
// --- host ---

template <class T>
const T* in(const Buffers& b, int k) {
  return static_cast<const T*>(b.in[k]);
}
template <class T>
T* out(const Buffers& b, int k) {
  return static_cast<T*>(b.out[k]);
}

inline bool empty(const BatchNormShape& s) { return s.rows == 0 || s.C == 0; }

template <class T>
Relu<T> relu_of(const BatchNormShape& s, const Buffers& b, bool relu) {
  if (!relu) return {};
  return {true, s.residual ? in<T>(b, 3) : nullptr, out<float>(b, 3), out<float>(b, 4),
          static_cast<float>(s.top)};
}
// What counts of dy. With a residual branch its gradient is made first, and is that.
template <class T>
Passed<T> passed(const BatchNormShape& s, const Queue& queue, const Buffers& b, bool relu) {
  const T* dy = in<T>(b, 0);
  if (relu && s.residual) {
    if (!empty(s)) {
      const std::int64_t n = s.rows * s.C;
      const bool packs = aligned(dy, 16) && aligned(in<T>(b, 5), 16) && aligned(out<T>(b, 3), 16);
      constexpr int kWidth = kPackWidth<T>;
      if (packs && n % kWidth == 0) {
        launch<pass_positive<T, kWidth>>(queue, blocks_for(n / kWidth, kThreads), kThreads, 0, dy,
                                         in<T>(b, 5), out<T>(b, 3), n / kWidth);
      } else {
        launch<pass_positive<T, 1>>(queue, blocks_for(n, kThreads), kThreads, 0, dy, in<T>(b, 5),
                                    out<T>(b, 3), n);
      }
    }
    dy = out<T>(b, 3);
  }
  const bool masked = relu && !s.residual;
  return {dy,
          in<T>(b, 1),
          in<float>(b, 2),
          masked ? in<float>(b, 5) : nullptr,
          masked ? in<float>(b, 6) : nullptr,
          static_cast<float>(s.top)};
}

}  // namespace batch_norm
}  // namespace tapescope::TAPESCOPE_GPU
