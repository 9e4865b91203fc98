// Convolution as a matrix product (implicit GEMM: the matrices are never in memory): where their
// elements lie. See kernels/common/gemm_operands.h for what an operand is.
//
//   forward:          y [npq, o]   = sum over (r, s, i) of x  [npq, rsi] * w [o, rsi]
//   data gradient:    dx[nhw, i]   = sum over (r, s, o) of dy [nhw, rso] * w [i, rso]
//   weight gradient:  dw[o, rsi]   = sum over (n, p, q) of dy [o, npq]   * x [rsi, npq]
//
// A pack of neighbouring elements never leaves a pixel, because channels are a multiple of it.
#pragma once

#include "kernels/common/gemm_operands.h"
#include "kernels/conv2d/rungs.h"

namespace tapescope::TAPESCOPE_GPU {

// k as a number of three digits, (high, middle, low): a tap's row, its column and a channel, or an
// image, a row and a column. The next step's is found by adding with carry: no division.
struct Digits {
  int high, middle, low;
};
struct Radix {
  int middles, lows;      // middle < middles, low < lows
  Digits by = {0, 0, 0};  // what a step adds
  constexpr Digits of(int k) const { return {k / lows / middles, k / lows % middles, k % lows}; }
  __device__ void advance(Digits& d) const {
    d.low += by.low;
    d.middle += by.middle + (d.low >= lows ? 1 : 0);
    d.low -= d.low >= lows ? lows : 0;
    d.high += by.high + (d.middle >= middles ? 1 : 0);
    d.middle -= d.middle >= middles ? middles : 0;
  }
};

constexpr int kNowhere = -(1 << 30);  // a row that no tap brings into an image

// The windows of an image as rows of a matrix: outer is a window, k a tap and channel. Window
// (p, q) begins at pixel first + p * stride, its taps lie `apart` pixels apart. Forward's A, and
// with dy as the image the data gradient's.
template <class Element>
struct Windows {
  using T = Element;
  static constexpr bool kAlongK = true;
  const T* x;  // {N, H, W, C}
  int H, W;
  int N, P, Q;  // windows
  int first_h, first_w, stride_h, stride_w, apart_h, apart_w;
  int taps_h;
  Radix radix;  // of taps_w, C
  constexpr void step(int BK) { radix.by = radix.of(BK); }

  struct Row {
    int pixel, h, w;  // of tap (0, 0), which may lie outside
  };
  using Column = Digits;
  __device__ Row row(int window) const {
    if (window >= N * P * Q) return {0, kNowhere, 0};
    const int q = window % Q, p = window / Q % P, n = window / Q / P;
    const int h = first_h + p * stride_h, w = first_w + q * stride_w;
    return {(n * H + h) * W + w, h, w};
  }
  __device__ Column column(int k) const { return radix.of(k); }
  __device__ void advance(Column& k) const { radix.advance(k); }
  __device__ bool inside(const Row& row, const Column& k) const {
    const auto h = static_cast<unsigned>(row.h + k.high * apart_h);
    const auto w = static_cast<unsigned>(row.w + k.middle * apart_w);
    return k.high < taps_h && h < static_cast<unsigned>(H) && w < static_cast<unsigned>(W);
  }
  __device__ const T* at(const Row& row, const Column& k) const {
    return moved(x + k.low, row.pixel + (k.high * apart_h * W + k.middle * apart_w),
                 radix.lows * static_cast<int>(sizeof(T)));
  }
};

// w as the data gradient's B: outer is an input channel, k a tap and output channel. Taps are those
// from `first` on, `apart` apart in {KH, KW}.
template <class Element>
struct WeightOfInput {
  using T = Element;
  static constexpr bool kAlongK = false;
  const T* w;   // {O,KH,KW,I}
  int I, taps;  // KH * KW
  int first, apart_h, apart_w;
  int taps_h;
  Radix radix;  // of taps_w, O
  constexpr void step(int BK) { radix.by = radix.of(BK); }

  struct Row {
    const T* channel;
    int end;  // taps_h, or 0 past the last channel
  };
  using Column = Digits;
  __device__ Row row(int i) const { return i < I ? Row{w + i, taps_h} : Row{w, 0}; }
  __device__ Column column(int k) const { return radix.of(k); }
  __device__ void advance(Column& k) const { radix.advance(k); }
  __device__ bool inside(const Row& row, const Column& k) const { return k.high < row.end; }
  __device__ const T* at(const Row& row, const Column& k) const {
    return moved(row.channel, k.low * taps + (k.high * apart_h + k.middle * apart_w + first),
                 I * static_cast<int>(sizeof(T)));
  }
};

// x as the weight gradient's B: outer is a tap and input channel, k an output pixel.
template <class Element>
struct InputOfWeight {
  using T = Element;
  static constexpr bool kAlongK = false;
  const T* x;  // {N,H,W,I}
  Conv s;
  Radix radix;  // of P, Q
  constexpr void step(int BK) { radix.by = radix.of(BK); }

  struct Row {
    const T* channel;
    int pixel, h, w;  // of the tap, for output pixel (0, 0)
  };
  using Column = Digits;
  __device__ Row row(int outer) const {
    const int i = outer % s.I, tap = outer / s.I, r = tap / s.KW, c = tap % s.KW;
    if (r >= s.KH) return {x, 0, kNowhere, 0};
    const int h = r * s.dilation_h - s.pad_h, w = c * s.dilation_w - s.pad_w;
    return {x + i, h * s.W + w, h, w};
  }
  __device__ Column column(int k) const { return radix.of(k); }
  __device__ void advance(Column& k) const { radix.advance(k); }
  __device__ bool inside(const Row& row, const Column& k) const {
    const auto h = static_cast<unsigned>(row.h + k.middle * s.stride_h);
    const auto w = static_cast<unsigned>(row.w + k.low * s.stride_w);
    return k.high < s.N && h < static_cast<unsigned>(s.H) && w < static_cast<unsigned>(s.W);
  }
  __device__ const T* at(const Row& row, const Column& k) const {
    const int from = (k.high * s.H + k.middle * s.stride_h) * s.W + k.low * s.stride_w;
    return moved(row.channel, row.pixel + from, s.I * static_cast<int>(sizeof(T)));
  }
};

// How the weight gradient's long sum over pixels is shared out between blocks: as many pieces as
// give each of some hundred blocks work, none shorter than 512 pixels. `steps` is what a piece's
// length must be a multiple of.
struct Pieces {
  int count, length;
};
// `tiles` of dw, of which `slots` run side by side.
inline Pieces pieces_of(const Conv2dShape& s, std::int64_t tiles, std::int64_t slots, int steps) {
  const std::int64_t pixels = max<std::int64_t>(s.N * s.P() * s.Q(), 1);
  const std::int64_t most = ceil_div<std::int64_t>(pixels, 512);
  std::int64_t count = min<std::int64_t>(slots / max<std::int64_t>(tiles, 1), most);
  count = max<std::int64_t>(count, 1);
  const std::int64_t length = ceil_div(ceil_div(pixels, count), std::int64_t{steps}) * steps;
  return {static_cast<int>(max<std::int64_t>(1, ceil_div(pixels, length))),
          static_cast<int>(length)};
}

}  // namespace tapescope::TAPESCOPE_GPU
