// Layer normalisation and its gradient on a GPU.
//
//   warp: one warp per row, sums folded by shuffles: no shared memory, no barrier. A row is read
//         from memory once and from the caches twice (mean, variance, result).
#include "kernels/more_ops/layer_norm/layer_norm.h"

#include "kernels/common/gpu.h"
#include "kernels/common/warp.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kBlock = 128;  // threads; four rows of a warp each
constexpr std::int64_t kRowsPerBlock = kBlock / kWarp;

// mean_c of f(c), for all lanes of the warp; all must call it.
template <class F>
__device__ float mean_of(std::int64_t C, F f) {
  float sum = 0;
  for (std::int64_t c = threadIdx.x % kWarp; c < C; c += kWarp) sum += f(c);
  return warp_reduce<Sum>(sum) / static_cast<float>(C);
}

struct Row {
  float mean, inverse;  // 1 / sqrt(variance + epsilon)
};
template <class T>
__device__ Row row_of(const T* x, std::int64_t C, float epsilon) {
  const float mean = mean_of(C, [=](std::int64_t c) { return static_cast<float>(x[c]); });
  const float variance = mean_of(C, [=](std::int64_t c) {
    const float centred = static_cast<float>(x[c]) - mean;
    return centred * centred;
  });
  return {mean, 1 / sqrt(variance + epsilon)};
}

// Warps past the last row leave together, so that whole warps shuffle.
__device__ std::int64_t row_index() {
  return std::int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.x / kWarp;
}

// x, y: {rows, C}, scale, shift: {C}
template <class T>
__global__ void forward(const T* x, const T* scale, const T* shift, T* y, std::int64_t rows,
                        std::int64_t C, float epsilon) {
  const std::int64_t r = row_index();
  if (r >= rows) return;
  x += r * C;
  const Row row = row_of(x, C, epsilon);
  for (std::int64_t c = threadIdx.x % kWarp; c < C; c += kWarp) {
    const float normalised = (static_cast<float>(x[c]) - row.mean) * row.inverse;
    y[r * C + c] =
        static_cast<T>(normalised * static_cast<float>(scale[c]) + static_cast<float>(shift[c]));
  }
}

// dy, x, dx: {rows, C}, scale: {C}
template <class T>
__global__ void gradient(const T* dy, const T* x, const T* scale, T* dx, std::int64_t rows,
                         std::int64_t C, float epsilon) {
  const std::int64_t r = row_index();
  if (r >= rows) return;
  x += r * C;
  dy += r * C;
  const Row row = row_of(x, C, epsilon);
  const auto g = [=](std::int64_t c) {
    return static_cast<float>(dy[c]) * static_cast<float>(scale[c]);
  };
  const auto normalised = [=](std::int64_t c) {
    return (static_cast<float>(x[c]) - row.mean) * row.inverse;
  };
  const float mean = mean_of(C, g);
  const float along = mean_of(C, [=](std::int64_t c) { return g(c) * normalised(c); });
  for (std::int64_t c = threadIdx.x % kWarp; c < C; c += kWarp) {
    dx[r * C + c] = static_cast<T>((g(c) - mean - normalised(c) * along) * row.inverse);
  }
}

// --- host ---

template <auto kernel, class T>
Plan plan_of(const LayerNormShape& s) {
  return Plan("warp", 0, [s](const Queue& queue, const Buffers& b) {
    if (s.rows * s.C == 0) return;
    launch<kernel>(queue, blocks_for(s.rows, kRowsPerBlock), kBlock, 0,
                   static_cast<const T*>(b.in[0]), static_cast<const T*>(b.in[1]),
                   static_cast<const T*>(b.in[2]), static_cast<T*>(b.out[0]), s.rows, s.C,
                   static_cast<float>(s.epsilon));
  });
}
template <auto for_f32, auto for_bf16>
Plan prepare(const LayerNormShape& s) {
  return s.dtype == DType::bf16 ? plan_of<for_bf16, bf16>(s) : plan_of<for_f32, float>(s);
}

constexpr Variant<LayerNormShape> warp_row(Plan (*prepare)(const LayerNormShape&)) {
  return {.name = "warp",
          .dtypes = {DType::f32, DType::bf16},
          .note = "one warp per row, sums folded by shuffles",
          .prepare = prepare};
}

}  // namespace

Rows<LayerNormShape> layer_norm_variants() {
  static constexpr Variant<LayerNormShape> rows[] = {
      warp_row(prepare<forward<float>, forward<bf16>>),
  };
  return rows;
}

Rows<LayerNormShape> layer_norm_gradient_variants() {
  static constexpr Variant<LayerNormShape> rows[] = {
      warp_row(prepare<gradient<float>, gradient<bf16>>),
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
