// Convolution and its gradients on Hopper's own units, bf16: the matrix product of
// kernels/common/hopper_gemm.h, whose matrices are never in memory. TMA's im2col maps walk over the
// windows of the images: they know borders and strides, so no thread computes an address or looks
// whether it lies inside.
//
//   forward:          windows of x [npq, tap i] * w [o, tap i], 64 channels of a tap a step
//   data gradient:    windows of dy [nhw, tap o] * w [i, tap o], taps from the last to the first;
//   the
//                     weights are read as they lie, and turned by the multiplication. Stride 1
//   weight gradient:  dy [o, npq] * windows of x [tap i, npq], both turned; 64 pixels a step.
//   Pieces of
//                     the sum go to different blocks and are added in their order by a second
//                     launch
#include "kernels/common/hopper_gemm.h"
#include "kernels/conv2d/implicit.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

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

// The same as B of the data gradient: outer is an input channel, k a tap, from the last one on, and
// output channel.
template <int Blocks>
struct WeightColumns {
  static constexpr bool kAlongK = false;
  TensorMap map;
  int channels, taps;  // O

  struct Place {
    int outer, tap, c;
  };
  __device__ Place place(int outer, int step) const {
    const int chunks = (channels + 63) / 64;
    return {outer, taps - 1 - step / chunks, step % chunks * 64};
  }
  __device__ void load(unsigned char* to, Mbarrier* full, Place& at) const {
    TAPESCOPE_UNROLL
    for (int b = 0; b < Blocks; ++b) {
      copy_tile(to + b * kSwizzledBlock, map, full, at.outer + b * 64, at.tap, at.c);
    }
    at.c += 64;
    if (at.c >= channels) at.c = 0, --at.tap;
  }
};

// x as B of the weight gradient: outer is a tap and channel, 64 channels a block (the last of a tap
// is filled up with zeros), k a window.
template <int Blocks>
struct WindowColumns {
  static constexpr bool kAlongK = false;
  TensorMap map;  // copies of 64 windows
  WindowWalk walk;
  int images;

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
      const WindowWalk::Tap& tap = at.taps[b];
      const bool past = tap.r >= walk.taps_h;  // an image that is not there is zero
      copy_pixels(to + b * kSwizzledBlock, map, full, tap.c, at.q * walk.stride_w - walk.pad_w,
                  at.p * walk.stride_h - walk.pad_h, past ? images : at.n,
                  past ? 0 : tap.s * walk.dilation_w, past ? 0 : tap.r * walk.dilation_h);
    }
    at.q += 64;
    while (at.q >= walk.Q) {
      at.q -= walk.Q;
      if (++at.p == walk.P) at.p = 0, ++at.n;
    }
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
        *reinterpret_cast<float2*>(to) = {d[g * 32 + i], d[g * 32 + i + 1]};
      }
    }
  }
};

// --- host ---

int chunks_of(int channels) { return ceil_div(channels, 64); }

WindowWalk forward_walk(const Conv& s) {
  return {s.P, s.Q,  s.stride_h, s.stride_w,   s.pad_h,     s.pad_w,
          s.I, s.KH, s.KW,       s.dilation_h, s.dilation_w};
}
// dx is the windows of dy that are padded by what a kernel reaches further than its own padding.
WindowWalk data_gradient_walk(const Conv& s) {
  return {s.H,
          s.W,
          1,
          1,
          s.dilation_h * (s.KH - 1) - s.pad_h,
          s.dilation_w * (s.KW - 1) - s.pad_w,
          s.O,
          s.KH,
          s.KW,
          s.dilation_h,
          s.dilation_w};
}
Windows windows_of(const WindowWalk& w, int N, int H, int W) {
  return {N, H, W, w.C, w.P, w.Q, w.stride_h, w.stride_w, w.pad_h, w.pad_w};
}
// What the hardware's maps hold: corners, strides, and how far a tap lies from its window.
bool maps_fit(const WindowWalk& w, int H, int W) {
  return windows_fit(windows_of(w, 1, H, W)) && w.dilation_h * (w.taps_h - 1) < 256 &&
         w.dilation_w * (w.taps_w - 1) < 256;
}
bool sizes_fit(const Conv2dShape& s) {
  // Whole packs of 16 bytes; with fewer channels most of a block of 64 would be zeros.
  return conv_is_dense(s) && s.I % 8 == 0 && s.O % 8 == 0 && s.I >= 32 && s.O >= 32 && s.P() > 0 &&
         s.Q() > 0;
}
void require_aligned(const Buffers& b) {
  if (!aligned(b.out[0], 16))
    throw failure("[conv2d] wgmma writes 16 bytes at a time: align to 16");
}

// How many pieces the weight gradient's sum is cut into: those that take the least time. A tile of
// 128 x 256 takes a step of 64 pixels in some 1,000 clocks; to write it out and, of several pieces,
// to read it again costs as much as 9 steps each.
int pieces_of_sum(int tiles, int steps) {
  int best = 1;
  std::int64_t least = 0;
  for (int pieces = 1; pieces <= min(64, steps); ++pieces) {
    const std::int64_t rounds =
        ceil_div<std::int64_t>(std::int64_t{tiles} * pieces, multiprocessors());
    const std::int64_t time = rounds * (ceil_div(steps, pieces) + (pieces > 1 ? 18 : 9));
    if (pieces == 1 || time < least) best = pieces, least = time;
  }
  return ceil_div(steps, ceil_div(steps, best));  // none of them empty
}
struct WeightGradientPlan {
  int columns, steps, pieces;
};
WeightGradientPlan plan_weight_gradient(const Conv& s) {
  const int N = s.KH * s.KW * chunks_of(s.I) * 64, columns = N <= 64 ? 64 : N <= 128 ? 128 : 256;
  const int steps = ceil_div(s.N * s.P * s.Q, 64);
  const int tiles = ceil_div(s.O, 128) * ceil_div(N, columns);
  return {columns, steps, steps == 0 ? 1 : pieces_of_sum(tiles, steps)};
}

}  // namespace

bool conv_fits_wgmma(const Conv2dShape& shape) {
  return sizes_fit(shape) && maps_fit(forward_walk(conv_of(shape)), static_cast<int>(shape.H),
                                      static_cast<int>(shape.W));
}
bool conv_data_gradient_fits_wgmma(const Conv2dShape& shape) {
  const Conv s = conv_of(shape);
  return sizes_fit(shape) && s.stride_h == 1 && s.stride_w == 1 &&
         maps_fit(data_gradient_walk(s), s.P, s.Q);
}

Plan conv2d_wgmma(const Conv2dShape& shape) {
  return Plan(
      "wgmma", 0, [s = conv_of(shape), bias = shape.bias](const Queue& queue, const Buffers& b) {
        const int M = s.N * s.P * s.Q, taps = s.KH * s.KW;
        if (M == 0) return;
        require_aligned(b);
        const WindowWalk walk = forward_walk(s);
        const WindowRows x{tensor_map(windows_view(b.in[0], windows_of(walk, s.N, s.H, s.W), 128)),
                           walk};
        const TileStore<bf16> y{static_cast<bf16*>(b.out[0]), bias ? in<float>(b, 2) : nullptr, M,
                                s.O};
        with_hopper_columns(hopper_columns(M, s.O), [&]<int Columns> {
          const WeightRows w{tensor_map(stack_view(b.in[1], s.O, taps, s.I, Columns)), s.I};
          launch_hopper_tile<HopperTile<Columns>>(queue, x, w, y, M, s.O, taps * chunks_of(s.I), 1);
        });
      });
}

Plan conv2d_data_gradient_wgmma(const Conv2dShape& shape) {
  return Plan("wgmma", 0, [s = conv_of(shape)](const Queue& queue, const Buffers& b) {
    const int M = s.N * s.H * s.W, taps = s.KH * s.KW;
    if (M == 0) return;
    require_aligned(b);
    const WindowWalk walk = data_gradient_walk(s);
    const WindowRows dy{tensor_map(windows_view(b.in[0], windows_of(walk, s.N, s.P, s.Q), 128)),
                        walk};
    const TileStore<bf16> dx{static_cast<bf16*>(b.out[0]), nullptr, M, s.I};
    with_hopper_columns(hopper_columns(M, s.I), [&]<int Columns> {
      const WeightColumns<Columns / 64> w{tensor_map(stack_view(b.in[1], s.O, taps, s.I, 64)), s.O,
                                          taps};
      launch_hopper_tile<HopperTile<Columns>>(queue, dy, w, dx, M, s.I, taps * chunks_of(s.O), 1);
    });
  });
}

Plan conv2d_weight_gradient_wgmma(const Conv2dShape& shape) {
  const WeightGradientPlan plan = plan_weight_gradient(conv_of(shape));
  const std::int64_t weights = shape.O * shape.KH * shape.KW * shape.I;
  const std::size_t workspace =
      plan.pieces > 1 ? static_cast<std::size_t>(plan.pieces * weights) * sizeof(float) : 0;
  return Plan("wgmma", workspace,
              [s = conv_of(shape), plan, weights](const Queue& queue, const Buffers& b) {
                auto* const dw = static_cast<float*>(b.out[0]);
                auto* const partial = static_cast<float*>(plan.pieces > 1 ? b.workspace : b.out[0]);
                const int taps = s.KH * s.KW, N = taps * chunks_of(s.I) * 64;
                if (plan.steps > 0) {
                  require_aligned(b);
                  const WindowWalk walk = forward_walk(s);
                  const TensorMap x =
                      tensor_map(windows_view(b.in[0], windows_of(walk, s.N, s.H, s.W), 64));
                  const auto dy =
                      mapped_matrix<false, 2>(b.in[1], s.O, std::int64_t{s.N} * s.P * s.Q);
                  with_hopper_columns(plan.columns, [&]<int Columns> {
                    const WindowColumns<Columns / 64> windows{x, walk, s.N};
                    launch_hopper_tile<HopperTile<Columns>>(queue, dy, windows,
                                                            WeightStore{partial, s.O, taps, s.I},
                                                            s.O, N, plan.steps, plan.pieces);
                  });
                }
                if (plan.steps > 0 && plan.pieces == 1) return;
                launch<sum_pieces<float>>(queue, blocks_for(weights, 256), 256, 0,
                                          static_cast<const float*>(partial), dw, weights,
                                          plan.steps > 0 ? plan.pieces : 0);
              });
}

}  // namespace tapescope::TAPESCOPE_GPU
