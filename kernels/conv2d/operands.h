// Convolution as a matrix product (implicit GEMM: the matrices are never in memory): where their
// elements lie. See kernels/common/gemm.h for what an operand is.
//
//   forward:          y [npq, o]   = sum over (r, s, i) of x  [npq, rsi] * w [o, rsi]
//   data gradient:    dx[nhw, i]   = sum over (r, s, o) of dy [nhw, rso] * w [i, rso]
//   weight gradient:  dw[o, rsi]   = sum over (n, p, q) of dy [o, npq]   * x [rsi, npq]
//
// A pack of neighbouring elements never leaves a pixel, because channels are a multiple of it.
#pragma once

#include "kernels/common/gemm.h"
#include "kernels/conv2d/rungs.h"

namespace tapescope::TAPESCOPE_GPU {

// x as forward's A: outer is an output pixel, k a tap and input channel.
template <class Element>
struct InputOfOutput {
  using T = Element;
  static constexpr bool kAlongK = true;
  const T* x;  // {N,H,W,I}
  Conv s;

  struct Row {
    const T* image;  // null past the end
    int h, w;        // of tap (0, 0)
  };
  __device__ Row row(int pixel) const {
    if (pixel >= s.N * s.P * s.Q) return {nullptr, 0, 0};
    const int q = pixel % s.Q, p = pixel / s.Q % s.P;
    return {x + std::int64_t{pixel / s.Q / s.P} * s.H * s.W * s.I, p * s.stride_h - s.pad_h,
            q * s.stride_w - s.pad_w};
  }
  __device__ const T* address(const Row& row, int k) const {
    const int i = k % s.I, tap = k / s.I, r = tap / s.KW, c = tap % s.KW;
    const int h = row.h + r * s.dilation_h, w = row.w + c * s.dilation_w;
    if (row.image == nullptr || r >= s.KH || h < 0 || h >= s.H || w < 0 || w >= s.W) return nullptr;
    return row.image + (std::int64_t{h} * s.W + w) * s.I + i;
  }
};

// dy as the data gradient's A: outer is an input pixel, k a tap and output channel.
template <class Element>
struct OutputOfInput {
  using T = Element;
  static constexpr bool kAlongK = true;
  const T* dy;  // {N,P,Q,O}
  Conv s;

  struct Row {
    const T* image;
    int h, w;  // with the padding added
  };
  __device__ Row row(int pixel) const {
    if (pixel >= s.N * s.H * s.W) return {nullptr, 0, 0};
    const int w = pixel % s.W, h = pixel / s.W % s.H;
    return {dy + std::int64_t{pixel / s.W / s.H} * s.P * s.Q * s.O, h + s.pad_h, w + s.pad_w};
  }
  __device__ const T* address(const Row& row, int k) const {
    const int o = k % s.O, tap = k / s.O, r = tap / s.KW, c = tap % s.KW;
    if (row.image == nullptr || r >= s.KH) return nullptr;
    // Tap (r, c) of output pixel (p, q) reads this pixel where p * stride is `up`.
    const int up = row.h - r * s.dilation_h, left = row.w - c * s.dilation_w;
    if (up < 0 || left < 0) return nullptr;
    const int p = up / s.stride_h, q = left / s.stride_w;
    if (p * s.stride_h != up || q * s.stride_w != left || p >= s.P || q >= s.Q) return nullptr;
    return row.image + (std::int64_t{p} * s.Q + q) * s.O + o;
  }
};

// w as the data gradient's B: outer is an input channel, k a tap and output channel.
template <class Element>
struct WeightOfInput {
  using T = Element;
  static constexpr bool kAlongK = false;
  const T* w;  // {O,KH,KW,I}
  Conv s;

  using Row = const T*;
  __device__ Row row(int i) const { return i < s.I ? w + i : nullptr; }
  __device__ const T* address(Row row, int k) const {
    const int o = k % s.O, tap = k / s.O, taps = s.KH * s.KW;
    if (row == nullptr || tap >= taps) return nullptr;
    return row + (std::int64_t{o} * taps + tap) * s.I;
  }
};

// x as the weight gradient's B: outer is a tap and input channel, k an output pixel.
template <class Element>
struct InputOfWeight {
  using T = Element;
  static constexpr bool kAlongK = false;
  const T* x;  // {N,H,W,I}
  Conv s;

  struct Row {
    const T* channel;
    int h, w;  // of the tap, for output pixel (0, 0)
  };
  __device__ Row row(int outer) const {
    const int i = outer % s.I, tap = outer / s.I, r = tap / s.KW, c = tap % s.KW;
    if (r >= s.KH) return {nullptr, 0, 0};
    return {x + i, r * s.dilation_h - s.pad_h, c * s.dilation_w - s.pad_w};
  }
  __device__ const T* address(const Row& row, int pixel) const {
    const int q = pixel % s.Q, p = pixel / s.Q % s.P, n = pixel / s.Q / s.P;
    const int h = row.h + p * s.stride_h, w = row.w + q * s.stride_w;
    if (row.channel == nullptr || n >= s.N || h < 0 || h >= s.H || w < 0 || w >= s.W) {
      return nullptr;
    }
    return row.channel + ((std::int64_t{n} * s.H + h) * s.W + w) * s.I;
  }
};

// How the weight gradient's long sum over pixels is shared out between blocks: as many pieces as
// give each of some hundred blocks work, none shorter than 512 pixels. `steps` is what a piece's
// length must be a multiple of.
struct Pieces {
  int count, length;
};
inline Pieces pieces_of(const Conv2dShape& s, int tile_rows, int tile_columns, int steps) {
  const std::int64_t pixels = max<std::int64_t>(s.N * s.P() * s.Q(), 1);
  const std::int64_t tiles =
      max<std::int64_t>(ceil_div<std::int64_t>(s.O, tile_rows) *
                            ceil_div<std::int64_t>(s.KH * s.KW * s.I, tile_columns),
                        1);
  std::int64_t count =
      min<std::int64_t>(ceil_div<std::int64_t>(512, tiles), ceil_div<std::int64_t>(pixels, 512));
  count = max<std::int64_t>(count, 1);
  const std::int64_t length = ceil_div(ceil_div(pixels, count), std::int64_t{steps}) * steps;
  return {static_cast<int>(max<std::int64_t>(1, ceil_div(pixels, length))),
          static_cast<int>(length)};
}

}  // namespace tapescope::TAPESCOPE_GPU
