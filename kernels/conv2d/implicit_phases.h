// The data gradient as products that multiply no zeros. With a stride s a pixel h of dx is read
// only by taps r of which h + pad - r * dilation is a multiple of s: those of its own class modulo
// s. The pixels of one class (a phase) are an image of their own, and their gradient is a
// convolution of stride 1 of dy with the class's taps; s_h * s_w phases share the taps out between
// them.
#pragma once

#include "kernels/conv2d/operands.h"

namespace tapescope::TAPESCOPE_GPU {

// One axis: pixels `first`, first + stride, ... (`count` of them) are read by taps first_tap,
// first_tap + apart, ... (`taps` of them): pixel a by tap t from output begin + a - t * back.
struct Phase {
  int first, count, first_tap, taps, apart, begin, back;
};
// Of pixels h with (h + pad) % stride == rest.
__host__ __device__ inline Phase phase_of(int rest, int extent, int kernel, int stride, int pad,
                                          int dilation) {
  int common = stride, other = dilation;  // their greatest common divisor
  while (other != 0) {
    const int left = common % other;
    common = other;
    other = left;
  }
  Phase p = {};
  p.first = (rest + stride - pad % stride) % stride;
  p.count = p.first < extent ? (extent - 1 - p.first) / stride + 1 : 0;
  p.apart = stride / common;
  p.back = dilation / common;
  if (rest % common != 0) return p;                               // read by nobody
  while (p.first_tap * dilation % stride != rest) ++p.first_tap;  // less than p.apart
  p.taps = p.first_tap < kernel ? (kernel - 1 - p.first_tap) / p.apart + 1 : 0;
  p.begin = (p.first + pad - p.first_tap * dilation) / stride;  // without a rest
  return p;
}

// c {M, N} into the pixels of a phase.
template <class Element>
struct StorePhase {
  using T = Element;
  T* dx;  // {images, H, W, N}
  int M, N;
  bool wide;
  int H, W, P, Q, first_h, first_w, stride_h, stride_w;
  static constexpr const float* bias = nullptr;
  __device__ T* row(int m, int) const {
    const int q = m % Q, p = m / Q % P, n = m / Q / P;
    const int h = first_h + p * stride_h, w = first_w + q * stride_w;
    return dx + (std::int64_t{n} * H * W + h * W + w) * N;
  }
};

template <class T>
struct DataGradient {
  using A = Windows<T>;
  using B = WeightOfInput<T>;
  using Store = StorePhase<T>;
  const T *dy, *w;
  T* dx;
  Conv s;
  bool wide = s.I % kPackWidth<T> == 0 && aligned(dx, 16);
  int by = 0;

  struct {
    int N;
  } store = {s.I};
  int parts() const { return s.stride_h * s.stride_w; }
  int rows() const { return s.N * ceil_div(s.H, s.stride_h) * ceil_div(s.W, s.stride_w); }
  void step(int BK) { by = BK; }
  __host__ __device__ Product<A, B, Store> part(int z) const {
    const Phase v = phase_of(z / s.stride_w, s.H, s.KH, s.stride_h, s.pad_h, s.dilation_h);
    const Phase u = phase_of(z % s.stride_w, s.W, s.KW, s.stride_w, s.pad_w, s.dilation_w);
    const int taps_w = max(u.taps, 1), taps_h = u.taps > 0 ? v.taps : 0;
    const Radix radix{taps_w, s.O};
    Product<A, B, Store> product{{dy, s.P, s.Q, s.N, v.count, u.count, v.begin, u.begin, 1, 1,
                                  -v.back, -u.back, taps_h, radix},
                                 {w, s.I, s.KH * s.KW, v.first_tap * s.KW + u.first_tap,
                                  v.apart * s.KW, u.apart, taps_h, radix},
                                 {dx, s.N * v.count * u.count, s.I, wide, s.H, s.W, v.count,
                                  u.count, v.first, u.first, s.stride_h, s.stride_w},
                                 taps_h * taps_w * s.O};
    product.a.step(by);
    product.b.step(by);
    return product;
  }
};

}  // namespace tapescope::TAPESCOPE_GPU
