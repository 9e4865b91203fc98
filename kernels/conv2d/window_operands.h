// Where the copies of the convolutions' tiles begin on Hopper: the operands of
// kernels/common/hopper_gemm.h that wgmma.cu multiplies. Images and gradients are read by im2col
// maps, weights by maps of {O, taps, I}.
#pragma once

#include "kernels/common/hopper_gemm.h"

namespace tapescope::TAPESCOPE_GPU {

// The windows of images, and the taps in them, in the order of k: channels, 64 at a time, fastest.
struct WindowWalk {
  int P, Q, stride_h, stride_w, pad_h, pad_w;  // windows an image, and where they lie
  int C, taps_h, taps_w, dilation_h, dilation_w;

  struct Window {
    int w, h, n;
  };
  __device__ Window window(int pixel) const {
    const int q = pixel % Q, p = pixel / Q % P;
    return {q * stride_w - pad_w, p * stride_h - pad_h, pixel / Q / P};
  }
  struct Tap {
    int c, s, r;
  };
  __device__ int chunks() const { return (C + 63) / 64; }
  __device__ Tap tap(int number) const {  // of 64 channels of a tap
    const int tap = number / chunks();
    return {number % chunks() * 64, tap % taps_w, tap / taps_w};
  }
  __device__ void next(Tap& at) const {
    at.c += 64;
    if (at.c < C) return;
    at.c = 0;
    if (++at.s < taps_w) return;
    at.s = 0;
    ++at.r;
  }
};

// A of forward and of the data gradient: outer is a window.
struct WindowRows {
  static constexpr bool kAlongK = true;
  TensorMap map;  // copies of 128 windows
  WindowWalk walk;

  struct Place {
    WindowWalk::Window window;
    WindowWalk::Tap tap;
  };
  __device__ Place place(int pixel, int step) const { return {walk.window(pixel), walk.tap(step)}; }
  __device__ void load(unsigned char* to, Mbarrier* full, Place& at) const {
    copy_pixels(to, map, full, at.tap.c, at.window.w, at.window.h, at.window.n,
                at.tap.s * walk.dilation_w, at.tap.r * walk.dilation_h);
    walk.next(at.tap);
  }
};

// w {O, taps, I} as B of forward: outer is an output channel, k a tap and input channel.
struct WeightRows {
  static constexpr bool kAlongK = true;
  TensorMap map;
  int channels;  // I

  struct Place {
    int outer, tap, c;
  };
  __device__ Place place(int outer, int step) const {
    const int chunks = (channels + 63) / 64;
    return {outer, step / chunks, step % chunks * 64};
  }
  __device__ void load(unsigned char* to, Mbarrier* full, Place& at) const {
    copy_tile(to, map, full, at.c, at.tap, at.outer);
    at.c += 64;
    if (at.c >= channels) at.c = 0, ++at.tap;
  }
};

// The same as B of the data gradient: outer is an input channel, k a tap and output channel. Taps
// come from the last to the first, every step_h-th row and step_w-th column of them.
template <int Blocks>
struct WeightColumns {
  static constexpr bool kAlongK = false;
  TensorMap map;
  int channels, KW;  // O
  int last_r, last_s, step_h, step_w, taps_w;

  struct Place {
    int outer, c, r, s;
  };
  __device__ Place place(int outer, int step) const {
    const int chunks = (channels + 63) / 64, tap = step / chunks;
    return {outer, step % chunks * 64, last_r - tap / taps_w * step_h,
            last_s - tap % taps_w * step_w};
  }
  __device__ void load(unsigned char* to, Mbarrier* full, Place& at) const {
    TAPESCOPE_UNROLL
    for (int b = 0; b < Blocks; ++b) {
      copy_tile(to + b * kSwizzledBlock, map, full, at.outer + b * 64, at.r * KW + at.s, at.c);
    }
    at.c += 64;
    if (at.c < channels) return;
    at.c = 0;
    at.s -= step_w;
    if (at.s > last_s - taps_w * step_w) return;
    at.s = last_s;
    at.r -= step_h;
  }
};

// x as B of the weight gradient: outer is a tap and channel, 64 channels a block (the last of a tap
// is filled up with zeros), k a window.
template <int Blocks>
struct WindowColumns {
  static constexpr bool kAlongK = false;
  TensorMap map;  // copies of 64 windows
  WindowWalk walk;

  struct Place {
    int q, p, n;
    WindowWalk::Tap taps[Blocks];
  };
  __device__ Place place(int outer, int step) const {
    const int pixel = step * 64;
    Place at{pixel % walk.Q, pixel / walk.Q % walk.P, pixel / walk.Q / walk.P, {}};
    at.taps[0] = walk.tap(outer / 64);
    TAPESCOPE_UNROLL
    for (int b = 1; b < Blocks; ++b) {
      at.taps[b] = at.taps[b - 1];
      walk.next(at.taps[b]);
    }
    return at;
  }
  __device__ void load(unsigned char* to, Mbarrier* full, Place& at) const {
    TAPESCOPE_UNROLL
    for (int b = 0; b < Blocks; ++b) {
      // Past the last tap any will do: nobody takes what becomes of it.
      const WindowWalk::Tap& tap = at.taps[b];
      copy_pixels(to + b * kSwizzledBlock, map, full, tap.c, at.q * walk.stride_w - walk.pad_w,
                  at.p * walk.stride_h - walk.pad_h, at.n, tap.s * walk.dilation_w,
                  min(tap.r, walk.taps_h - 1) * walk.dilation_h);
    }
    at.q += 64;
    while (at.q >= walk.Q) {
      at.q -= walk.Q;
      if (++at.p == walk.P) at.p = 0, ++at.n;
    }
  }
};

// Which pixels of dx {N, H, W} a phase of the data gradient writes: every stride-th, from (h, w)
// on.
struct PhaseRows {
  int rows, columns, H, W, stride_h, stride_w, h, w;  // rows x columns of them an image
  __device__ std::int64_t operator()(int m) const {
    const int column = m % columns, row = m / columns % rows, n = m / columns / rows;
    return (std::int64_t{n} * H + row * stride_h + h) * W + column * stride_w + w;
  }
};

// dw {O, taps, C}, or pieces of it one behind the other, of columns that are blocks of 64 channels.
struct WeightStore {
  float* dw;
  int O, taps, C;

  template <int registers>
  __device__ void operator()(int m, int n, int piece, const float (&d)[registers]) const {
    const int thread = static_cast<int>(threadIdx.x % kWarpGroup), quad = thread % 4;
    const int row = m + thread / 32 * 16 + thread % 32 / 4, blocks = (C + 63) / 64;
    TAPESCOPE_UNROLL
    for (int g = 0; g < registers / 32; ++g) {  // 64 columns
      const int block = n / 64 + g, tap = block / blocks, c0 = block % blocks * 64;
      if (tap >= taps) return;
      TAPESCOPE_UNROLL
      for (int i = 0; i < 32; i += 2) {
        const int o = row + i / 2 % 2 * 8, c = c0 + i / 4 * 8 + quad * 2;
        if (o >= O || c >= C) continue;
        float* const to = dw + ((std::int64_t{piece} * O + o) * taps + tap) * C + c;
        store_pack(to, Pack<float, 2>{{d[g * 32 + i], d[g * 32 + i + 1]}});
      }
    }
  }
};

}  // namespace tapescope::TAPESCOPE_GPU
