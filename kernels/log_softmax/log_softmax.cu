// Softmax, log-softmax and their gradients on a GPU, in rungs. Each reduces a row to a total and
// then writes the row again from it.
//
//   naive:      one thread per row. Neighbouring threads read a whole row apart: one useful number
//               per memory transaction.
//   shared:     one block per row. Its threads read neighbouring elements, and their totals are
//               folded in a tree through shared memory, with a barrier per level.
//   warp:       one warp per row, totals folded by shuffles: no shared memory, no barrier, and
//               short rows do not leave most of a block idle. Largest value and sum are found in
//               one pass (the sum is rescaled when a larger value comes), so a row is read twice,
//               not thrice.
//   vectorized: 16 bytes per load, and the row stays in registers: it is read once. Of rows of at
//               most 64 columns a warp takes two or eight, so that its lanes are not idle.
#include "kernels/log_softmax/log_softmax.h"

#include "kernels/common/gpu.h"
#include "kernels/common/vector.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kBlock = 128;  // threads; four rows of a warp each
constexpr std::int64_t kRowsPerBlock = kBlock / kWarp;
constexpr float kMinusInfinity = -__builtin_huge_valf();

// The four functions. `a` is an element of the first operand, `b` of the second.
//
// Online normaliser (Milakov and Gimelshein, arXiv 1805.02867): the largest value so far and the
// sum of exp(x - largest).
struct Normaliser {
  float largest, sum;
};
struct SoftmaxTotal {
  using Total = Normaliser;
  static constexpr int kOperands = 1;
  __device__ static Total identity() { return {kMinusInfinity, 0}; }
  __device__ static void add(Total& t, float x, float) {
    if (x == kMinusInfinity) return;  // exp(x - largest) is 0, and NaN while nothing is larger
    if (x > t.largest) {
      t.sum = t.sum * exp(t.largest - x) + 1;
      t.largest = x;
    } else {
      t.sum += exp(x - t.largest);  // a NaN makes the sum NaN
    }
  }
  __device__ static Total merge(Total t, Total u) {
    const float largest = t.largest > u.largest ? t.largest : u.largest;
    if (largest == kMinusInfinity) return {largest, t.sum + u.sum};
    return {largest, t.sum * exp(t.largest - largest) + u.sum * exp(u.largest - largest)};
  }
  // A row without a finite largest value has no softmax.
  __device__ static Total finish(Total t) {
    if (fabs(t.largest) == -kMinusInfinity) t.sum = t.largest - t.largest;
    return t;
  }
};
struct Softmax : SoftmaxTotal {
  __device__ static float result(Total t, float x, float) { return exp(x - t.largest) / t.sum; }
};
struct LogSoftmax : SoftmaxTotal {
  // The logarithm once per row.
  __device__ static Total finish(Total t) {
    t = SoftmaxTotal::finish(t);
    t.sum = log(t.sum);
    return t;
  }
  __device__ static float result(Total t, float x, float) { return x - t.largest - t.sum; }
};

struct SumTotal {
  using Total = float;
  static constexpr int kOperands = 2;
  __device__ static Total identity() { return 0; }
  __device__ static Total merge(Total t, Total u) { return t + u; }
  __device__ static Total finish(Total t) { return t; }
};
struct LogSoftmaxGradient : SumTotal {
  __device__ static void add(Total& t, float dy, float) { t += dy; }
  __device__ static float result(Total t, float dy, float y) { return dy - exp(y) * t; }
};
struct SoftmaxGradient : SumTotal {
  __device__ static void add(Total& t, float dy, float y) { t += dy * y; }
  __device__ static float result(Total t, float dy, float y) { return y * (dy - t); }
};

template <class F, class T>
__device__ float second(const T* b, std::int64_t i) {
  if constexpr (F::kOperands == 2) return static_cast<float>(b[i]);
  return 0;
}

// a, b, y: {rows, C} in all rungs; b is read by gradients only.
template <class F, class T>
__global__ void naive(const T* a, const T* b, T* y, std::int64_t rows, std::int64_t C) {
  const std::int64_t row = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  typename F::Total total = F::identity();
  for (std::int64_t i = row * C; i < (row + 1) * C; ++i) {
    F::add(total, static_cast<float>(a[i]), second<F>(b, i));
  }
  total = F::finish(total);
  for (std::int64_t i = row * C; i < (row + 1) * C; ++i) {
    y[i] = static_cast<T>(F::result(total, static_cast<float>(a[i]), second<F>(b, i)));
  }
}

template <class F, class T>
__global__ void shared(const T* a, const T* b, T* y, std::int64_t C) {
  TAPESCOPE_SHARED(typename F::Total, totals, [kBlock]);
  const std::int64_t first = blockIdx.x * C;
  typename F::Total total = F::identity();
  for (std::int64_t c = threadIdx.x; c < C; c += kBlock) {
    F::add(total, static_cast<float>(a[first + c]), second<F>(b, first + c));
  }
  totals[threadIdx.x] = total;
  for (unsigned half = kBlock / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      totals[threadIdx.x] = F::merge(totals[threadIdx.x], totals[threadIdx.x + half]);
    }
  }
  __syncthreads();
  total = F::finish(totals[0]);
  for (std::int64_t c = threadIdx.x; c < C; c += kBlock) {
    const std::int64_t i = first + c;
    y[i] = static_cast<T>(F::result(total, static_cast<float>(a[i]), second<F>(b, i)));
  }
}

__device__ float shuffled(float t, int lanes) { return __shfl_xor_sync(kFullMask, t, lanes); }
__device__ Normaliser shuffled(Normaliser t, int lanes) {
  return {shuffled(t.largest, lanes), shuffled(t.sum, lanes)};
}
// Over `Lanes` neighbouring lanes; all of the warp call it.
template <class F, int Lanes = static_cast<int>(kWarp)>
__device__ typename F::Total warp_total(typename F::Total total) {
  TAPESCOPE_UNROLL
  for (int lanes = Lanes / 2; lanes > 0; lanes /= 2) {
    total = F::merge(total, shuffled(total, lanes));
  }
  return F::finish(total);
}

template <class F, class T>
__global__ void warp(const T* a, const T* b, T* y, std::int64_t rows, std::int64_t C) {
  const std::int64_t row = blockIdx.x * kRowsPerBlock + threadIdx.x / kWarp;
  if (row >= rows) return;  // a whole warp
  const std::int64_t first = row * C, lane = threadIdx.x % kWarp;
  typename F::Total total = F::identity();
  for (std::int64_t c = lane; c < C; c += kWarp) {
    F::add(total, static_cast<float>(a[first + c]), second<F>(b, first + c));
  }
  total = warp_total<F>(total);
  for (std::int64_t c = lane; c < C; c += kWarp) {
    const std::int64_t i = first + c;
    y[i] = static_cast<T>(F::result(total, static_cast<float>(a[i]), second<F>(b, i)));
  }
}

// C is a multiple of the pack's width, and at most `kPacks` packs a lane.
template <class F, class T, int kPacks>
__global__ void vectorized(const T* a, const T* b, T* y, std::int64_t rows, std::int64_t C) {
  constexpr int kWidth = kPackWidth<T>;
  const std::int64_t row = blockIdx.x * kRowsPerBlock + threadIdx.x / kWarp;
  if (row >= rows) return;
  const int lane = static_cast<int>(threadIdx.x % kWarp), packs = static_cast<int>(C / kWidth);
  const std::int64_t first = row * C;
  Pack<T, kWidth> u[kPacks] = {}, v[kPacks] = {};
  typename F::Total total = F::identity();
  TAPESCOPE_UNROLL
  for (int k = 0; k < kPacks; ++k) {
    const int pack = k * static_cast<int>(kWarp) + lane;
    if (pack >= packs) continue;
    u[k] = load_pack<T, kWidth>(a + first + pack * kWidth);
    if constexpr (F::kOperands == 2) v[k] = load_pack<T, kWidth>(b + first + pack * kWidth);
    TAPESCOPE_UNROLL
    for (int j = 0; j < kWidth; ++j) {
      F::add(total, static_cast<float>(u[k][j]), static_cast<float>(v[k][j]));
    }
  }
  total = warp_total<F>(total);
  TAPESCOPE_UNROLL
  for (int k = 0; k < kPacks; ++k) {
    const int pack = k * static_cast<int>(kWarp) + lane;
    if (pack >= packs) continue;
    TAPESCOPE_UNROLL
    for (int j = 0; j < kWidth; ++j) {
      u[k][j] = static_cast<T>(
          F::result(total, static_cast<float>(u[k][j]), static_cast<float>(v[k][j])));
    }
    store_pack(y + first + pack * kWidth, u[k]);
  }
}

// `Lanes` lanes per row, which has at most four columns for each of them.
constexpr int kColumnsOfLane = 4;
template <class F, class T, int Lanes>
__global__ void narrow(const T* a, const T* b, T* y, std::int64_t rows, std::int64_t C) {
  const std::int64_t row = (std::int64_t{blockIdx.x} * kBlock + threadIdx.x) / Lanes;
  const int lane = static_cast<int>(threadIdx.x) % Lanes;
  const std::int64_t first = row * C;
  float u[kColumnsOfLane], v[kColumnsOfLane];
  typename F::Total total = F::identity();
  const int columns = row < rows ? static_cast<int>(C) : 0;  // all lanes go on to the shuffles
  TAPESCOPE_UNROLL
  for (int k = 0; k < kColumnsOfLane; ++k) {
    const int c = k * Lanes + lane;
    if (c >= columns) continue;
    u[k] = static_cast<float>(a[first + c]);
    v[k] = second<F>(b, first + c);
    F::add(total, u[k], v[k]);
  }
  total = warp_total<F, Lanes>(total);
  TAPESCOPE_UNROLL
  for (int k = 0; k < kColumnsOfLane; ++k) {
    const int c = k * Lanes + lane;
    if (c < columns) y[first + c] = static_cast<T>(F::result(total, u[k], v[k]));
  }
}

// --- host ---

enum class Rung { naive, shared, warp, vectorized };
constexpr std::string_view kNames[] = {"naive", "shared", "warp", "vectorized"};

template <class F, class T>
void run(Rung rung, const Queue& queue, const SoftmaxShape& s, const Buffers& buffers) {
  const T* a = static_cast<const T*>(buffers.in[0]);                                // {rows, C}
  const T* b = F::kOperands == 2 ? static_cast<const T*>(buffers.in[1]) : nullptr;  // {rows, C}
  T* y = static_cast<T*>(buffers.out[0]);                                           // {rows, C}
  if (s.rows == 0 || s.C == 0) return;
  if (rung == Rung::naive) {
    launch<naive<F, T>>(queue, blocks_for(s.rows, kBlock), kBlock, 0, a, b, y, s.rows, s.C);
    return;
  }
  if (rung == Rung::shared) {
    launch<shared<F, T>>(queue, dim3(static_cast<unsigned>(s.rows)), kBlock, 0, a, b, y, s.C);
    return;
  }
  if (rung == Rung::vectorized && s.C <= 16 * kColumnsOfLane) {
    const auto go = [&]<int Lanes>() {
      launch<narrow<F, T, Lanes>>(queue, blocks_for(s.rows * Lanes, kBlock), kBlock, 0, a, b, y,
                                  s.rows, s.C);
    };
    return s.C <= 4 * kColumnsOfLane ? go.template operator()<4>() : go.template operator()<16>();
  }
  const dim3 grid(static_cast<unsigned>(ceil_div(s.rows, kRowsPerBlock)));
  constexpr int kWidth = kPackWidth<T>;
  const std::int64_t packs = ceil_div<std::int64_t>(s.C / kWidth, kWarp);  // a lane
  const bool wide = rung == Rung::vectorized && s.C % kWidth == 0 && packs <= 8 && aligned(a, 16) &&
                    aligned(y, 16) && (b == nullptr || aligned(b, 16));
  if (!wide) {
    launch<warp<F, T>>(queue, grid, kBlock, 0, a, b, y, s.rows, s.C);
  } else if (packs <= 1) {
    launch<vectorized<F, T, 1>>(queue, grid, kBlock, 0, a, b, y, s.rows, s.C);
  } else if (packs <= 2) {
    launch<vectorized<F, T, 2>>(queue, grid, kBlock, 0, a, b, y, s.rows, s.C);
  } else {
    launch<vectorized<F, T, 8>>(queue, grid, kBlock, 0, a, b, y, s.rows, s.C);
  }
}

template <class F, Rung rung>
Plan prepare(const SoftmaxShape& s) {
  return Plan(kNames[static_cast<int>(rung)], 0, [s](const Queue& queue, const Buffers& b) {
    if (s.dtype == DType::bf16) {
      run<F, bf16>(rung, queue, s, b);
    } else {
      run<F, float>(rung, queue, s, b);
    }
  });
}

bool any(const SoftmaxShape& s) { return s.rows < (std::int64_t{1} << 31); }

// exp and log are within 2 units of the last place.
template <class F, Rung rung>
constexpr Variant<SoftmaxShape> row(std::string_view note) {
  return {.name = kNames[static_cast<int>(rung)],
          .dtypes = {DType::f32, DType::bf16},
          .error_factor = 2,
          .note = note,
          .prepare = prepare<F, rung>,
          .supports = any};
}

template <class F>
Rows<SoftmaxShape> rows_of() {
  static constexpr Variant<SoftmaxShape> rows[] = {
      row<F, Rung::vectorized>("one warp per row that stays in registers: memory is read once"),
      row<F, Rung::warp>("one warp per row: shuffles in place of barriers, one pass to reduce"),
      row<F, Rung::shared>("one block per row: neighbouring threads read neighbouring elements"),
      row<F, Rung::naive>("one thread per row"),
  };
  return rows;
}

}  // namespace

Rows<SoftmaxShape> log_softmax_variants() { return rows_of<LogSoftmax>(); }
Rows<SoftmaxShape> softmax_variants() { return rows_of<Softmax>(); }
Rows<SoftmaxShape> log_softmax_gradient_variants() { return rows_of<LogSoftmaxGradient>(); }
Rows<SoftmaxShape> softmax_gradient_variants() { return rows_of<SoftmaxGradient>(); }

}  // namespace tapescope::TAPESCOPE_GPU
