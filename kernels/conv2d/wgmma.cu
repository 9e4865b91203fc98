// Convolution and its gradients on Hopper's own units, bf16: the matrix product of
// kernels/common/hopper_gemm.h, whose matrices are never in memory. TMA's im2col maps walk over the
// windows of the images: they know borders and strides, so no thread computes an address or looks
// whether it lies inside.
//
//   forward:          windows of x [npq, tap i] * w [o, tap i], 64 channels of a tap a step
//   data gradient:    windows of dy [nhw, tap o] * w [i, tap o], taps from the last to the first.
//                     The weights are read as they lie, and turned by the multiplication. With a
//                     stride dx is interleaved images, each with the taps that reach it: as many
//                     problems of stride 1, and no multiplication by zeros between dy's pixels
//   weight gradient:  dy [o, npq] * windows of x [tap i, npq], both turned, 64 pixels a step.
//                     Pieces of the sum go to different blocks; a second launch adds them in order
#include "kernels/common/tensor_gemm.h"
#include "kernels/conv2d/implicit.h"
#include "kernels/conv2d/implicit_phases.h"
#include "kernels/conv2d/window_operands.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

int chunks_of(int channels) { return ceil_div(channels, 64); }

WindowWalk forward_walk(const Conv& s) {
  return {s.P, s.Q,  s.stride_h, s.stride_w,   s.pad_h,     s.pad_w,
          s.I, s.KH, s.KW,       s.dilation_h, s.dilation_w};
}
// Of the data gradient: the pixels of dx that the same taps reach, from the last to the first.
struct PhasePair {
  Phase h, w;
  bool empty() const { return h.taps == 0 || w.taps == 0; }  // no tap reaches it: dx is zero there
  WindowWalk walk(const Conv& s) const {
    return {h.count, w.count, 1, 1, pad_of(h), pad_of(w), s.O, h.taps, w.taps, h.back, w.back};
  }
  static int pad_of(const Phase& axis) { return (axis.taps - 1) * axis.back - axis.begin; }
  static int last_tap(const Phase& axis) { return axis.first_tap + (axis.taps - 1) * axis.apart; }
};
// Calls f(phase) for those that have pixels.
template <class F>
void for_each_phase(const Conv& s, F&& f) {
  for (int h = 0; h < s.stride_h; ++h) {
    for (int w = 0; w < s.stride_w; ++w) {
      const PhasePair phase{phase_of(h, s.H, s.KH, s.stride_h, s.pad_h, s.dilation_h),
                            phase_of(w, s.W, s.KW, s.stride_w, s.pad_w, s.dilation_w)};
      if (phase.h.count > 0 && phase.w.count > 0) f(phase);
    }
  }
}
ImageWindows windows_of(const WindowWalk& w, int N, int H, int W) {
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
  if (!aligned(b.out[0], 16)) {
    throw failure("[conv2d] wgmma writes 16 bytes at a time: align the result to 16");
  }
}

void run_phase(const Queue& queue, const Conv& s, const PhasePair& phase, const Buffers& b) {
  const int M = s.N * phase.h.count * phase.w.count;
  const int steps = phase.h.taps * phase.w.taps * chunks_of(s.O);
  const WindowWalk walk = phase.walk(s);
  // Where no tap reaches nothing is copied, and any map will do.
  const ImageWindows windows = phase.empty()
                                   ? ImageWindows{s.N, s.P, s.Q, s.O, s.P, s.Q, 1, 1, 0, 0}
                                   : windows_of(walk, s.N, s.P, s.Q);
  const WindowRows dy{tensor_map(windows_view(b.in[0], windows, 128)), walk};
  const PhaseRows rows{phase.h.count, phase.w.count, s.H,           s.W,
                       s.stride_h,    s.stride_w,    phase.h.first, phase.w.first};
  const TileStore<bf16, PhaseRows> dx{static_cast<bf16*>(b.out[0]), nullptr, M, s.I, rows};
  const TensorMap w = tensor_map(stack_view(b.in[1], s.O, s.KH * s.KW, s.I, 64));
  with_hopper_columns(hopper_columns(M, s.I), [&]<int Columns> {
    const WeightColumns<Columns / 64> weights{w,
                                              s.O,
                                              s.KW,
                                              PhasePair::last_tap(phase.h),
                                              PhasePair::last_tap(phase.w),
                                              phase.h.apart,
                                              phase.w.apart,
                                              phase.w.taps};
    launch_hopper_tile<HopperTile<128, Columns>>(queue, dy, weights, dx, M, s.I, steps, 1);
  });
}

// How many pieces the weight gradient's sum is cut into: those that take the least time. A tile of
// 128 x 256 takes a step of 64 pixels in some 1,000 clocks; to write it out and, of several pieces,
// to read it again costs as much as 9 steps each. On every machine the same.
int pieces_of_sum(int tiles, int steps) {
  int best = 1;
  std::int64_t least = 0;
  for (int pieces = 1; pieces <= min(64, steps); ++pieces) {
    const std::int64_t rounds =
        ceil_div<std::int64_t>(std::int64_t{tiles} * pieces, kMultiprocessors);
    const std::int64_t time = rounds * (ceil_div(steps, pieces) + (pieces > 1 ? 18 : 9));
    if (pieces == 1 || time < least) best = pieces, least = time;
  }
  return ceil_div(steps, ceil_div(steps, best));  // none of them empty
}
struct WeightGradientPlan {
  int rows, columns, steps, pieces;
};
WeightGradientPlan plan_weight_gradient(const Conv& s) {
  const int N = s.KH * s.KW * chunks_of(s.I) * 64, columns = N <= 128 ? 128 : 256;
  const int rows = s.O <= 64 ? 64 : 128, steps = ceil_div(s.N * s.P * s.Q, 64);
  const int tiles = ceil_div(s.O, rows) * ceil_div(N, columns);
  return {rows, columns, steps, steps == 0 ? 1 : pieces_of_sum(tiles, steps)};
}
template <int Rows, int Columns>
void run_weight_gradient(const Queue& queue, const Conv& s, const WeightGradientPlan& plan,
                         const Buffers& b, float* dw) {
  const WindowWalk walk = forward_walk(s);
  const int taps = s.KH * s.KW;
  const WindowColumns<Columns / 64> x{
      tensor_map(windows_view(b.in[0], windows_of(walk, s.N, s.H, s.W), 64)), walk};
  launch_hopper_tile<HopperTile<Rows, Columns>>(
      queue, mapped_matrix<false, Rows / 64>(b.in[1], s.O, std::int64_t{s.N} * s.P * s.Q), x,
      WeightStore{dw, s.O, taps, s.I}, s.O, taps * chunks_of(s.I) * 64, plan.steps, plan.pieces);
}

}  // namespace

bool conv_fits_wgmma(const Conv2dShape& shape) {
  return sizes_fit(shape) && maps_fit(forward_walk(conv_of(shape)), static_cast<int>(shape.H),
                                      static_cast<int>(shape.W));
}
bool conv_data_gradient_fits_wgmma(const Conv2dShape& shape) {
  const Conv s = conv_of(shape);
  bool fits = sizes_fit(shape) && (s.stride_h == 1 || s.dilation_h == 1) &&
              (s.stride_w == 1 || s.dilation_w == 1);
  if (!fits) return false;
  for_each_phase(s, [&](const PhasePair& phase) {
    fits = fits && (phase.empty() || maps_fit(phase.walk(s), s.P, s.Q));
  });
  return fits;
}

Plan conv2d_wgmma(const Conv2dShape& shape) {
  return Plan("wgmma", 0,
              [s = conv_of(shape), bias = shape.bias](const Queue& queue, const Buffers& b) {
                const int M = s.N * s.P * s.Q, taps = s.KH * s.KW;
                if (M == 0) return;
                require_aligned(b);
                const WindowWalk walk = forward_walk(s);
                const WindowRows x{
                    tensor_map(windows_view(b.in[0], windows_of(walk, s.N, s.H, s.W), 128)), walk};
                const TileStore<bf16> y{static_cast<bf16*>(b.out[0]),
                                        bias ? in<float>(b, 2) : nullptr, M, s.O};
                with_hopper_columns(hopper_columns(M, s.O), [&]<int Columns> {
                  const WeightRows w{tensor_map(stack_view(b.in[1], s.O, taps, s.I, Columns)), s.I};
                  launch_hopper_tile<HopperTile<128, Columns>>(queue, x, w, y, M, s.O,
                                                               taps * chunks_of(s.I), 1);
                });
              });
}

Plan conv2d_data_gradient_wgmma(const Conv2dShape& shape) {
  return Plan("wgmma", 0, [s = conv_of(shape)](const Queue& queue, const Buffers& b) {
    if (s.N == 0) return;
    require_aligned(b);
    for_each_phase(s, [&](const PhasePair& phase) { run_phase(queue, s, phase, b); });
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
                auto* const sums = plan.pieces > 1 ? static_cast<float*>(b.workspace) : dw;
                if (plan.steps > 0) {
                  require_aligned(b);
                  if (plan.rows == 64) {
                    plan.columns == 128 ? run_weight_gradient<64, 128>(queue, s, plan, b, sums)
                                        : run_weight_gradient<64, 256>(queue, s, plan, b, sums);
                  } else {
                    plan.columns == 128 ? run_weight_gradient<128, 128>(queue, s, plan, b, sums)
                                        : run_weight_gradient<128, 256>(queue, s, plan, b, sums);
                  }
                  if (plan.pieces == 1) return;
                }
                // Of no image the sum is zero.
                launch<sum_pieces<float>>(queue, blocks_for(weights, 256), 256, 0,
                                          static_cast<const float*>(sums), dw, weights,
                                          plan.steps > 0 ? plan.pieces : 0);
              });
}

}  // namespace tapescope::TAPESCOPE_GPU
