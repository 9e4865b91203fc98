// Batch normalisation on a GPU, in rungs.
//
//   naive: one thread per channel, one row after the other; sums in double
//   tiled: tiled.cu
#include "kernels/batch_norm/rungs.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

using namespace batch_norm;

// --- training ---

// The moments of rows begin, begin + step, ... below `end` of channel c.
template <class T>
__device__ Moments moments_of(const T* x, std::int64_t begin, std::int64_t end, std::int64_t step,
                              std::int64_t c, std::int64_t C) {
  float sum = 0, squares = 0;
  std::int64_t count = 0;
  for (std::int64_t r = begin; r < end; r += step, ++count) sum += number(x, r * C + c);
  if (count == 0) return {0, 0, 0};
  const float mean = sum / static_cast<float>(count);
  float left = 0;  // what rounding the mean left over, exactly taken out again below
  for (std::int64_t r = begin; r < end; r += step) {
    const float centred = number(x, r * C + c) - mean;
    left += centred;
    squares += centred * centred;
  }
  const double n = static_cast<double>(count), rest = static_cast<double>(left) / n;
  return {n, static_cast<double>(mean) + rest, static_cast<double>(squares) - rest * rest * n};
}

// x: {rows, C}, y: {rows, C}, mean, variance: {C}; scale, shift: {C} or null
template <class T>
__global__ void training_naive(const T* x, const float* scale, const float* shift, T* y,
                               float* mean, float* variance, Relu<T> relu, std::int64_t rows,
                               std::int64_t C, double eps) {
  const std::int64_t c = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= C) return;
  Moments all{0, 0, 0};
  for (std::int64_t r = 0; r < rows; r += 128) {
    all = merged(all, moments_of(x, r, min<std::int64_t>(rows, r + 128), 1, c, C));
  }
  const double spread = all.squares / static_cast<double>(rows);
  mean[c] = static_cast<float>(all.mean);
  variance[c] = static_cast<float>(spread);
  const float m = static_cast<float>(all.mean), add = number_or(shift, c, 0);
  const float factor =
      static_cast<float>(static_cast<double>(number_or(scale, c, 1)) / sqrt(spread + eps));
  if (relu.on) {
    relu.factor[c] = factor;
    relu.offset[c] = add;
  }
  for (std::int64_t i = c; i < rows * C; i += C) {
    y[i] = finished(relu, normalised(number(x, i), m, factor, add), i);
  }
}

// --- inference ---

template <class T>
__global__ void inference(const T* x, const float* scale, const float* shift, const float* mean,
                          const float* variance, T* y, std::int64_t n, std::int64_t C, float eps) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const std::int64_t c = i % C;
  const float factor = number_or(scale, c, 1) / sqrt(number(variance, c) + eps);
  y[i] = static_cast<T>((number(x, i) - number(mean, c)) * factor + number_or(shift, c, 0));
}

// --- gradient ---

template <class T>
__device__ Sums sums_of(const Passed<T>& dy, const T* x, float mean, float inverse,
                        std::int64_t begin, std::int64_t end, std::int64_t step, std::int64_t c,
                        std::int64_t C) {
  float sum = 0, product = 0;
  for (std::int64_t r = begin; r < end; r += step) {
    const float d = dy(r * C + c, c);
    sum += d;
    product += d * ((number(x, r * C + c) - mean) * inverse);
  }
  return {sum, product};
}

template <class T>
__device__ T gradient_element(const GradientChannel& g, float dy, float x) {
  const float normal = (x - g.mean) * g.inverse;
  return static_cast<T>(g.factor * (dy - g.mean_dy - normal * g.mean_product));
}

// dy, x, dx: {rows, C}; mean, variance, scale, dscale, dshift: {C}; scale, dx, dscale, dshift may
// be null
template <class T>
__global__ void gradient_naive(Passed<T> dy, const T* x, const float* mean, const float* variance,
                               const float* scale, T* dx, float* dscale, float* dshift,
                               std::int64_t rows, std::int64_t C, double eps) {
  const std::int64_t c = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= C) return;
  const float m = number(mean, c);
  const auto inverse = static_cast<float>(1 / sqrt(static_cast<double>(number(variance, c)) + eps));
  Sums all{0, 0};
  for (std::int64_t r = 0; r < rows; r += 128) {
    const Sums part = sums_of(dy, x, m, inverse, r, min<std::int64_t>(rows, r + 128), 1, c, C);
    all = {all.dy + part.dy, all.product + part.product};
  }
  const GradientChannel g = gradient_channel(all, mean, variance, scale, dscale, dshift, c,
                                             static_cast<double>(rows), eps);
  if (dx == nullptr) return;
  for (std::int64_t i = c; i < rows * C; i += C) {
    dx[i] = gradient_element<T>(g, dy(i, c), number(x, i));
  }
}

// --- host ---

template <class T, bool relu>
Plan training_naive_plan(const BatchNormShape& s) {
  return Plan("naive", 0, [s](const Queue& queue, const Buffers& b) {
    if (s.C == 0) return;
    launch<training_naive<T>>(queue, blocks_for(s.C, kThreads), kThreads, 0, in<T>(b, 0),
                              in<float>(b, 1), in<float>(b, 2), out<T>(b, 0), out<float>(b, 1),
                              out<float>(b, 2), relu_of<T>(s, b, relu), s.rows, s.C, s.eps);
  });
}

template <class T>
Plan inference_plan(const BatchNormShape& s) {
  return Plan("naive", 0, [s](const Queue& queue, const Buffers& b) {
    if (empty(s)) return;
    launch<inference<T>>(queue, blocks_for(s.rows * s.C, kThreads), kThreads, 0, in<T>(b, 0),
                         in<float>(b, 1), in<float>(b, 2), in<float>(b, 3), in<float>(b, 4),
                         out<T>(b, 0), s.rows * s.C, s.C, static_cast<float>(s.eps));
  });
}

template <class T, bool relu>
Plan gradient_naive_plan(const BatchNormShape& s) {
  return Plan("naive", 0, [s](const Queue& queue, const Buffers& b) {
    if (s.C == 0) return;
    launch<gradient_naive<T>>(queue, blocks_for(s.C, kThreads), kThreads, 0,
                              passed<T>(s, queue, b, relu), in<T>(b, 1), in<float>(b, 2),
                              in<float>(b, 3), in<float>(b, 4), out<T>(b, 0), out<float>(b, 1),
                              out<float>(b, 2), s.rows, s.C, s.eps);
  });
}

template <auto for_f32, auto for_bf16>
Plan prepare(const BatchNormShape& s) {
  return s.dtype == DType::bf16 ? for_bf16(s) : for_f32(s);
}

using Prepare = Plan (*)(const BatchNormShape&);

constexpr Variant<BatchNormShape> tiled_row(Prepare prepare) {
  return {.name = "tiled",
          .dtypes = {DType::f32, DType::bf16},
          .note =
              "16 bytes of channels per thread, one look at x for the moments, which are merged in "
              "trees; a channel's numbers stay in registers",
          .prepare = prepare,
          .supports = batch_norm_fits_tiles};
}
constexpr Variant<BatchNormShape> naive_row(std::string_view note, Prepare prepare) {
  return {.name = "naive", .dtypes = {DType::f32, DType::bf16}, .note = note, .prepare = prepare};
}

template <bool relu>
Rows<BatchNormShape> training_rows() {
  static constexpr Variant<BatchNormShape> rows[] = {
      tiled_row([](const BatchNormShape& s) { return batch_norm_training_tiled(s, relu); }),
      naive_row("one thread per channel",
                prepare<training_naive_plan<float, relu>, training_naive_plan<bf16, relu>>),
  };
  return rows;
}
template <bool relu>
Rows<BatchNormShape> gradient_rows() {
  static constexpr Variant<BatchNormShape> rows[] = {
      tiled_row([](const BatchNormShape& s) { return batch_norm_gradient_tiled(s, relu); }),
      naive_row("one thread per channel",
                prepare<gradient_naive_plan<float, relu>, gradient_naive_plan<bf16, relu>>),
  };
  return rows;
}

}  // namespace

Rows<BatchNormShape> batch_norm_training_variants() { return training_rows<false>(); }
Rows<BatchNormShape> batch_norm_relu_training_variants() { return training_rows<true>(); }
Rows<BatchNormShape> batch_norm_gradient_variants() { return gradient_rows<false>(); }
Rows<BatchNormShape> batch_norm_relu_gradient_variants() { return gradient_rows<true>(); }

Rows<BatchNormShape> batch_norm_inference_variants() {
  static constexpr Variant<BatchNormShape> rows[] = {
      tiled_row(batch_norm_inference_tiled),
      naive_row("one thread per element", prepare<inference_plan<float>, inference_plan<bf16>>),
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
