// Resampling of images on a GPU.
//
//   naive: one thread per element of the result. The gradients gather: an input pixel adds up the
//          output pixels that read it, in their order, so no atomics are needed.
#include "kernels/common/gpu.h"
#include "kernels/more_ops/upsample/tap.h"
#include "kernels/more_ops/upsample/upsample.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;

struct Pixel {
  std::int64_t n, row, column, c;
};
__device__ Pixel pixel_of(std::int64_t i, std::int64_t rows, std::int64_t columns, std::int64_t C) {
  return {i / (rows * columns * C), i / (columns * C) % rows, i / C % columns, i % C};
}

// x: {N,H,W,C}, y: {N,P,Q,C}
template <class T>
__global__ void nearest(const T* x, T* y, UpsampleShape s) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= s.N * s.P * s.Q * s.C) return;
  const Pixel at = pixel_of(i, s.P, s.Q, s.C);
  y[i] = x[((at.n * s.H + at.row * s.H / s.P) * s.W + at.column * s.W / s.Q) * s.C + at.c];
}

// x: {N,H,W,C}, y: {N,P,Q,C}
template <class T>
__global__ void bilinear(const T* x, T* y, UpsampleShape s) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= s.N * s.P * s.Q * s.C) return;
  const Pixel at = pixel_of(i, s.P, s.Q, s.C);
  const LinearTap row = linear_tap(at.row, s.H, s.P), column = linear_tap(at.column, s.W, s.Q);
  const auto value = [&](std::int64_t h, std::int64_t w) {
    return static_cast<float>(x[((at.n * s.H + h) * s.W + w) * s.C + at.c]);
  };
  const float down = static_cast<float>(row.high_weight);
  const float right = static_cast<float>(column.high_weight);
  const float top = (1 - right) * value(row.low, column.low) + right * value(row.low, column.high);
  const float bottom =
      (1 - right) * value(row.high, column.low) + right * value(row.high, column.high);
  y[i] = static_cast<T>((1 - down) * top + down * bottom);
}

// dy: {N,P,Q,C}, dx: {N,H,W,C}
template <class T>
__global__ void nearest_gradient(const T* dy, T* dx, UpsampleShape s) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= s.N * s.H * s.W * s.C) return;
  const Pixel at = pixel_of(i, s.H, s.W, s.C);
  // floor(p * H / P) = h for p from ceil(h * P / H) up to, not including, ceil((h + 1) * P / H).
  const std::int64_t p0 = ceil_div(at.row * s.P, s.H), p1 = ceil_div((at.row + 1) * s.P, s.H);
  const std::int64_t q0 = ceil_div(at.column * s.Q, s.W);
  const std::int64_t q1 = ceil_div((at.column + 1) * s.Q, s.W);
  float sum = 0;
  for (std::int64_t p = p0; p < p1; ++p) {
    for (std::int64_t q = q0; q < q1; ++q) {
      sum += static_cast<float>(dy[((at.n * s.P + p) * s.Q + q) * s.C + at.c]);
    }
  }
  dx[i] = static_cast<T>(sum);
}

// How much of output pixel p came from input pixel h.
__device__ float weight_of(std::int64_t p, std::int64_t h, std::int64_t in, std::int64_t out) {
  const LinearTap tap = linear_tap(p, in, out);
  float weight = 0;
  if (tap.low == h) weight += static_cast<float>(1 - tap.high_weight);
  if (tap.high == h) weight += static_cast<float>(tap.high_weight);
  return weight;
}
// The output pixels that may read input pixel h: those sampled within a pixel of it, and on a
// border all beyond it.
__device__ std::int64_t first_reader(std::int64_t h, std::int64_t in, std::int64_t out) {
  return h == 0 ? 0 : max<std::int64_t>(0, (2 * h - 1) * out / (2 * in) - 1);
}
__device__ std::int64_t last_reader(std::int64_t h, std::int64_t in, std::int64_t out) {
  return h == in - 1 ? out - 1 : min<std::int64_t>(out - 1, (2 * h + 3) * out / (2 * in) + 1);
}

// dy: {N,P,Q,C}, dx: {N,H,W,C}
template <class T>
__global__ void bilinear_gradient(const T* dy, T* dx, UpsampleShape s) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= s.N * s.H * s.W * s.C) return;
  const Pixel at = pixel_of(i, s.H, s.W, s.C);
  float sum = 0;
  for (std::int64_t p = first_reader(at.row, s.H, s.P); p <= last_reader(at.row, s.H, s.P); ++p) {
    const float down = weight_of(p, at.row, s.H, s.P);
    if (down == 0) continue;
    for (std::int64_t q = first_reader(at.column, s.W, s.Q); q <= last_reader(at.column, s.W, s.Q);
         ++q) {
      const float weight = down * weight_of(q, at.column, s.W, s.Q);
      if (weight == 0) continue;  // it did not read this pixel: a NaN there is not ours
      sum += weight * static_cast<float>(dy[((at.n * s.P + p) * s.Q + q) * s.C + at.c]);
    }
  }
  dx[i] = static_cast<T>(sum);
}

// --- host ---

template <auto kernel, class T>
Plan plan_of(const UpsampleShape& s, std::int64_t elements) {
  return Plan("naive", 0, [s, elements](const Queue& queue, const Buffers& b) {
    if (elements == 0) return;
    launch<kernel>(queue, blocks_for(elements, kThreads), kThreads, 0,
                   static_cast<const T*>(b.in[0]), static_cast<T*>(b.out[0]), s);
  });
}
template <auto for_f32, auto for_bf16, bool gradient>
Plan prepare(const UpsampleShape& s) {
  const std::int64_t elements = s.N * s.C * (gradient ? s.H * s.W : s.P * s.Q);
  return s.dtype == DType::bf16 ? plan_of<for_bf16, bf16>(s, elements)
                                : plan_of<for_f32, float>(s, elements);
}

constexpr Variant<UpsampleShape> naive_row(double error_factor,
                                           Plan (*prepare)(const UpsampleShape&)) {
  return {.name = "naive",
          .dtypes = {DType::f32, DType::bf16},
          .error_factor = error_factor,
          .note = "one thread per element of the result; gradients gather",
          .prepare = prepare};
}

constexpr double kWeightsInF32 = 2;  // error factor: the weights are rounded to f32

}  // namespace

Rows<UpsampleShape> upsample_nearest_variants() {
  static constexpr Variant<UpsampleShape> rows[] = {
      naive_row(1, prepare<nearest<float>, nearest<bf16>, false>),
  };
  return rows;
}

Rows<UpsampleShape> upsample_bilinear_variants() {
  static constexpr Variant<UpsampleShape> rows[] = {
      naive_row(kWeightsInF32, prepare<bilinear<float>, bilinear<bf16>, false>),
  };
  return rows;
}

Rows<UpsampleShape> upsample_nearest_gradient_variants() {
  static constexpr Variant<UpsampleShape> rows[] = {
      naive_row(1, prepare<nearest_gradient<float>, nearest_gradient<bf16>, true>),
  };
  return rows;
}

Rows<UpsampleShape> upsample_bilinear_gradient_variants() {
  static constexpr Variant<UpsampleShape> rows[] = {
      naive_row(kWeightsInF32, prepare<bilinear_gradient<float>, bilinear_gradient<bf16>, true>),
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
