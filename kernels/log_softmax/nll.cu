// The fused loss on a GPU: one warp per row, which reads its logits once and writes one number (or,
// for the gradient, twice and writes a row). Log-softmax and gather apart write and read the whole
// matrix of log-probabilities in between.
#include "kernels/log_softmax/nll.h"

#include "kernels/common/gpu.h"
#include "kernels/common/warp.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kBlock = 128;  // threads; four rows
constexpr std::int64_t kRowsPerBlock = kBlock / kWarp;

// The row's largest value and the sum of exp(x - largest), in every lane.
struct Normaliser {
  float largest, sum;
};
template <class T>
__device__ Normaliser normaliser_of(const T* x, std::int64_t C) {
  const std::int64_t lane = threadIdx.x % kWarp;
  float largest = Max::identity<float>(), sum = 0;
  for (std::int64_t c = lane; c < C; c += kWarp) {
    largest = Max::apply(largest, static_cast<float>(x[c]));
  }
  largest = warp_reduce<Max>(largest);
  for (std::int64_t c = lane; c < C; c += kWarp) sum += exp(static_cast<float>(x[c]) - largest);
  return {largest, warp_reduce<Sum>(sum)};
}

__device__ float not_a_number() { return __uint_as_float(0x7fc00000u); }

// x: {rows, C}, label: {rows}, y: {rows}
template <class T>
__global__ void forward(const T* x, const std::int64_t* label, T* y, std::int64_t rows,
                        std::int64_t C) {
  const std::int64_t row = blockIdx.x * kRowsPerBlock + threadIdx.x / kWarp;
  if (row >= rows) return;  // a whole warp
  const Normaliser n = normaliser_of(x + row * C, C);
  if (threadIdx.x % kWarp != 0) return;
  const std::int64_t wanted = label[row];
  const bool valid = wanted >= 0 && wanted < C;
  const float hit = valid ? static_cast<float>(x[row * C + wanted]) : not_a_number();
  y[row] = static_cast<T>(n.largest - hit + log(n.sum));
}

// dy: {rows}, x: {rows, C}, label: {rows}, dx: {rows, C}
template <class T>
__global__ void gradient(const T* dy, const T* x, const std::int64_t* label, T* dx,
                         std::int64_t rows, std::int64_t C) {
  const std::int64_t row = blockIdx.x * kRowsPerBlock + threadIdx.x / kWarp;
  if (row >= rows) return;
  const Normaliser n = normaliser_of(x + row * C, C);
  const std::int64_t wanted = label[row];
  const float up = wanted >= 0 && wanted < C ? static_cast<float>(dy[row]) : not_a_number();
  for (std::int64_t c = threadIdx.x % kWarp; c < C; c += kWarp) {
    const float p = exp(static_cast<float>(x[row * C + c]) - n.largest) / n.sum;
    dx[row * C + c] = static_cast<T>(up * (c == wanted ? p - 1 : p));
  }
}

template <class T>
Plan forward_plan(const SoftmaxShape& s) {
  return Plan("warp", 0, [s](const Queue& queue, const Buffers& b) {
    if (s.rows == 0) return;
    launch<forward<T>>(queue, dim3(static_cast<unsigned>(ceil_div(s.rows, kRowsPerBlock))), kBlock,
                       0, static_cast<const T*>(b.in[0]), static_cast<const std::int64_t*>(b.in[1]),
                       static_cast<T*>(b.out[0]), s.rows, s.C);
  });
}
template <class T>
Plan gradient_plan(const SoftmaxShape& s) {
  return Plan("warp", 0, [s](const Queue& queue, const Buffers& b) {
    if (s.rows == 0 || s.C == 0) return;
    launch<gradient<T>>(queue, dim3(static_cast<unsigned>(ceil_div(s.rows, kRowsPerBlock))), kBlock,
                        0, static_cast<const T*>(b.in[0]), static_cast<const T*>(b.in[1]),
                        static_cast<const std::int64_t*>(b.in[2]), static_cast<T*>(b.out[0]),
                        s.rows, s.C);
  });
}

Plan prepare_forward(const SoftmaxShape& s) {
  return s.dtype == DType::bf16 ? forward_plan<bf16>(s) : forward_plan<float>(s);
}
Plan prepare_gradient(const SoftmaxShape& s) {
  return s.dtype == DType::bf16 ? gradient_plan<bf16>(s) : gradient_plan<float>(s);
}

constexpr Variant<SoftmaxShape> warp_row(Plan (*prepare)(const SoftmaxShape&)) {
  return {.name = "warp",
          .dtypes = {DType::f32, DType::bf16},
          .error_factor = 2,
          .note = "one warp per row; log-probabilities are never in memory",
          .prepare = prepare};
}

}  // namespace

Rows<SoftmaxShape> log_softmax_nll_variants() {
  static constexpr Variant<SoftmaxShape> rows[] = {
      warp_row(prepare_forward),
  };
  return rows;
}

Rows<SoftmaxShape> log_softmax_nll_gradient_variants() {
  static constexpr Variant<SoftmaxShape> rows[] = {
      warp_row(prepare_gradient),
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
