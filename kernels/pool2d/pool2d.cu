// Pooling on a GPU, in rungs. Forward kernels have one thread per output, gradients one per input
// that adds up what the windows over it hand back: no atomics, and each element is rounded once.
//
//   naive:      one thread per element
//   vectorized: one thread per 16 bytes of channels: as many times fewer loads, and the window's
//               index arithmetic is done once for all of them
#include "kernels/pool2d/pool2d.h"

#include "kernels/common/gpu.h"
#include "kernels/common/vector.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;

// The sizes of Pool2dShape that device code needs, as it needs them.
struct Pool {
  std::int64_t N;
  int H, W, C, P, Q, KH, KW, stride_h, stride_w, pad_h, pad_w;
  bool count_include_pad, relu;
};

Pool pool_of(const Pool2dShape& s) {
  const auto i = [](std::int64_t x) { return static_cast<int>(x); };
  return {s.N,
          i(s.H),
          i(s.W),
          i(s.C),
          i(s.P()),
          i(s.Q()),
          i(s.KH),
          i(s.KW),
          i(s.stride_h),
          i(s.stride_w),
          i(s.pad_h),
          i(s.pad_w),
          s.count_include_pad,
          s.relu};
}

// One thread's element of an image {N, rows, columns, C / Width}.
struct At {
  std::int64_t n;
  int row, column, c;
  bool inside;
};
template <int Width>
__device__ At position(const Pool& s, int rows, int columns) {
  std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int packs = s.C / Width;
  At at;
  at.inside = i < s.N * rows * columns * packs;
  at.c = static_cast<int>(i % packs) * Width;
  i /= packs;
  at.column = static_cast<int>(i % columns);
  i /= columns;
  at.row = static_cast<int>(i % rows);
  at.n = i / rows;
  return at;
}
__device__ std::int64_t index(const At& at, int rows, int columns, int row, int column, int C) {
  return ((at.n * rows + row) * columns + column) * C + at.c;
}

// Calls f(place, h, w) for each place of window (p, q) that lies in the image, in scan order.
template <class F>
__device__ void for_window(const Pool& s, int p, int q, F&& f) {
  for (int r = 0; r < s.KH; ++r) {
    const int h = p * s.stride_h - s.pad_h + r;
    if (h < 0 || h >= s.H) continue;
    for (int c = 0; c < s.KW; ++c) {
      const int w = q * s.stride_w - s.pad_w + c;
      if (w >= 0 && w < s.W) f(r * s.KW + c, h, w);
    }
  }
}

// Calls f(place, p, q) for each window (p, q) in which (h, w) is that place.
template <class F>
__device__ void for_windows_over(const Pool& s, int h, int w, F&& f) {
  for (int r = s.KH - 1; r >= 0; --r) {
    const int up = h + s.pad_h - r;  // = p * stride
    if (up < 0 || up % s.stride_h != 0 || up / s.stride_h >= s.P) continue;
    for (int c = s.KW - 1; c >= 0; --c) {
      const int left = w + s.pad_w - c;
      if (left < 0 || left % s.stride_w != 0 || left / s.stride_w >= s.Q) continue;
      f(r * s.KW + c, up / s.stride_h, left / s.stride_w);
    }
  }
}

__device__ int divisor(const Pool& s, int p, int q) {
  if (s.count_include_pad) return s.KH * s.KW;
  const int top = p * s.stride_h - s.pad_h, left = q * s.stride_w - s.pad_w;
  return (min(top + s.KH, s.H) - max(top, 0)) * (min(left + s.KW, s.W) - max(left, 0));
}

// x: {N,H,W,C}, y: {N,P,Q,C}, k: {N,P,Q,C}
template <class T, int Width>
__global__ void max_pool2d(const T* x, T* y, std::uint8_t* k, Pool s) {
  const At at = position<Width>(s, s.P, s.Q);
  if (!at.inside) return;
  float best[Width] = {};
  Pack<std::uint8_t, Width> place = {};
  bool first = true;
  for_window(s, at.row, at.column, [&](int here, int h, int w) {
    const Pack<T, Width> v = load_pack<T, Width>(x + index(at, s.H, s.W, h, w, s.C));
    for (int j = 0; j < Width; ++j) {
      const float a = static_cast<float>(v[j]);
      // The first of equals wins, and a NaN over all numbers.
      if (!first && !(a > best[j]) && !(a != a && best[j] == best[j])) continue;
      best[j] = a;
      place[j] = static_cast<std::uint8_t>(here);
    }
    first = false;
  });
  Pack<T, Width> result;
  for (int j = 0; j < Width; ++j) {
    if (s.relu && !(best[j] > 0)) place[j] = kNoPlace;
    result[j] = static_cast<T>(s.relu && best[j] <= 0 ? 0.0f : best[j]);
  }
  const std::int64_t out = index(at, s.P, s.Q, at.row, at.column, s.C);
  store_pack(y + out, result);
  store_pack(k + out, place);
}

// dy, k: {N,P,Q,C}, dx: {N,H,W,C}
template <class T, int Width>
__global__ void max_pool2d_scatter(const T* dy, const std::uint8_t* k, T* dx, Pool s) {
  const At at = position<Width>(s, s.H, s.W);
  if (!at.inside) return;
  float sum[Width] = {};
  for_windows_over(s, at.row, at.column, [&](int place, int p, int q) {
    const std::int64_t from = index(at, s.P, s.Q, p, q, s.C);
    const auto won = load_pack<std::uint8_t, Width>(k + from);
    const auto v = load_pack<T, Width>(dy + from);
    for (int j = 0; j < Width; ++j) {
      if (won[j] == place) sum[j] += static_cast<float>(v[j]);
    }
  });
  Pack<T, Width> result;
  for (int j = 0; j < Width; ++j) result[j] = static_cast<T>(sum[j]);
  store_pack(dx + index(at, s.H, s.W, at.row, at.column, s.C), result);
}

// x: {N,H,W,C}, k: {N,P,Q,C}, y: {N,P,Q,C}
template <class T, int Width>
__global__ void max_pool2d_gather(const T* x, const std::uint8_t* k, T* y, Pool s) {
  const At at = position<Width>(s, s.P, s.Q);
  if (!at.inside) return;
  const std::int64_t out = index(at, s.P, s.Q, at.row, at.column, s.C);
  const auto won = load_pack<std::uint8_t, Width>(k + out);
  Pack<T, Width> result;
  for (int j = 0; j < Width; ++j) {
    const int h = at.row * s.stride_h - s.pad_h + won[j] / s.KW;
    const int w = at.column * s.stride_w - s.pad_w + won[j] % s.KW;
    result[j] = x[index(at, s.H, s.W, h, w, s.C) + j];
  }
  store_pack(y + out, result);
}

// x: {N,H,W,C}, y: {N,P,Q,C}
template <class T, int Width>
__global__ void avg_pool2d(const T* x, T* y, Pool s) {
  const At at = position<Width>(s, s.P, s.Q);
  if (!at.inside) return;
  float sum[Width] = {};
  for_window(s, at.row, at.column, [&](int, int h, int w) {
    const auto v = load_pack<T, Width>(x + index(at, s.H, s.W, h, w, s.C));
    for (int j = 0; j < Width; ++j) sum[j] += static_cast<float>(v[j]);
  });
  const float count = static_cast<float>(divisor(s, at.row, at.column));
  Pack<T, Width> result;
  for (int j = 0; j < Width; ++j) result[j] = static_cast<T>(sum[j] / count);
  store_pack(y + index(at, s.P, s.Q, at.row, at.column, s.C), result);
}

// dy: {N,P,Q,C}, dx: {N,H,W,C}
template <class T, int Width>
__global__ void avg_pool2d_gradient(const T* dy, T* dx, Pool s) {
  const At at = position<Width>(s, s.H, s.W);
  if (!at.inside) return;
  float sum[Width] = {};
  for_windows_over(s, at.row, at.column, [&](int, int p, int q) {
    const auto v = load_pack<T, Width>(dy + index(at, s.P, s.Q, p, q, s.C));
    const float count = static_cast<float>(divisor(s, p, q));
    for (int j = 0; j < Width; ++j) sum[j] += static_cast<float>(v[j]) / count;
  });
  Pack<T, Width> result;
  for (int j = 0; j < Width; ++j) result[j] = static_cast<T>(sum[j]);
  store_pack(dx + index(at, s.H, s.W, at.row, at.column, s.C), result);
}

// --- host ---

// `run` is called with the width as a template argument: 16 bytes where channels and the pointers
// (operands and outputs of T; `k` needs less) allow it and `wide` asks for it, otherwise 1.
template <class T, class Run>
Plan plan_of(const Pool2dShape& s, bool wide, std::int64_t elements, Run run) {
  return Plan(wide ? "vectorized" : "naive", 0,
              [s = pool_of(s), wide, elements, run](const Queue& queue, const Buffers& b) {
                if (elements == 0) return;
                constexpr int kWidth = kPackWidth<T>;
                bool fits = wide && s.C % kWidth == 0 && aligned(b.in[0], 16);
                fits = fits && aligned(b.out[0], 16);
                if (fits && run.k(b) != nullptr) fits = aligned(run.k(b), kWidth);
                if (fits) {
                  run.template operator()<T, kWidth>(queue, blocks_for(elements / kWidth, kThreads),
                                                     b, s);
                } else {
                  run.template operator()<T, 1>(queue, blocks_for(elements, kThreads), b, s);
                }
              });
}

template <class T>
const T* in(const Buffers& b, int i) {
  return static_cast<const T*>(b.in[i]);
}
template <class T>
T* out(const Buffers& b, int i) {
  return static_cast<T*>(b.out[i]);
}

struct RunMax {
  const void* k(const Buffers& b) const { return b.out[1]; }
  template <class T, int Width>
  void operator()(const Queue& queue, dim3 grid, const Buffers& b, const Pool& s) const {
    launch<max_pool2d<T, Width>>(queue, grid, kThreads, 0, in<T>(b, 0), out<T>(b, 0),
                                 out<std::uint8_t>(b, 1), s);
  }
};
struct RunScatter {
  const void* k(const Buffers& b) const { return b.in[1]; }
  template <class T, int Width>
  void operator()(const Queue& queue, dim3 grid, const Buffers& b, const Pool& s) const {
    launch<max_pool2d_scatter<T, Width>>(queue, grid, kThreads, 0, in<T>(b, 0),
                                         in<std::uint8_t>(b, 1), out<T>(b, 0), s);
  }
};
struct RunGather {
  const void* k(const Buffers& b) const { return b.in[1]; }
  template <class T, int Width>
  void operator()(const Queue& queue, dim3 grid, const Buffers& b, const Pool& s) const {
    launch<max_pool2d_gather<T, Width>>(queue, grid, kThreads, 0, in<T>(b, 0),
                                        in<std::uint8_t>(b, 1), out<T>(b, 0), s);
  }
};
struct RunAvg {
  const void* k(const Buffers&) const { return nullptr; }
  template <class T, int Width>
  void operator()(const Queue& queue, dim3 grid, const Buffers& b, const Pool& s) const {
    launch<avg_pool2d<T, Width>>(queue, grid, kThreads, 0, in<T>(b, 0), out<T>(b, 0), s);
  }
};
struct RunAvgGradient {
  const void* k(const Buffers&) const { return nullptr; }
  template <class T, int Width>
  void operator()(const Queue& queue, dim3 grid, const Buffers& b, const Pool& s) const {
    launch<avg_pool2d_gradient<T, Width>>(queue, grid, kThreads, 0, in<T>(b, 0), out<T>(b, 0), s);
  }
};

template <class Run, bool wide, bool over_inputs>
Plan prepare(const Pool2dShape& s) {
  const std::int64_t elements = over_inputs ? s.N * s.H * s.W * s.C : s.N * s.P() * s.Q() * s.C;
  return s.dtype == DType::bf16 ? plan_of<bf16>(s, wide, elements, Run())
                                : plan_of<float>(s, wide, elements, Run());
}

// Pixels and channels are counted in int.
bool fits_int(const Pool2dShape& s) {
  return s.H * s.W * s.C < (std::int64_t{1} << 31) && s.P() * s.Q() * s.C < (std::int64_t{1} << 31);
}

template <class Run, bool over_inputs>
Rows<Pool2dShape> rows_of() {
  static constexpr DTypes kDTypes{DType::f32, DType::bf16};
  static constexpr Variant<Pool2dShape> rows[] = {
      {.name = "vectorized",
       .dtypes = kDTypes,
       .note = "16 bytes of channels per thread: fewer loads, index arithmetic once for all",
       .prepare = prepare<Run, true, over_inputs>,
       .supports = fits_int},
      {.name = "naive",
       .dtypes = kDTypes,
       .note = "one thread per element",
       .prepare = prepare<Run, false, over_inputs>,
       .supports = fits_int},
  };
  return rows;
}

}  // namespace

Rows<Pool2dShape> max_pool2d_variants() { return rows_of<RunMax, false>(); }
Rows<Pool2dShape> max_pool2d_scatter_variants() { return rows_of<RunScatter, true>(); }
Rows<Pool2dShape> max_pool2d_gather_variants() { return rows_of<RunGather, false>(); }
Rows<Pool2dShape> avg_pool2d_variants() { return rows_of<RunAvg, false>(); }
Rows<Pool2dShape> avg_pool2d_gradient_variants() { return rows_of<RunAvgGradient, true>(); }

}  // namespace tapescope::TAPESCOPE_GPU
