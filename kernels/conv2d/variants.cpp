// Which convolution runs where, best first.
#include "kernels/conv2d/by_tap.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/depthwise_simd.h"
#include "kernels/conv2d/few_channels.h"
#include "kernels/conv2d/onednn.h"
#include "kernels/conv2d/reference.h"
#include "kernels/conv2d/winograd.h"
#include "kernels/more_ops/cast/widened.h"

namespace tapescope {
namespace {

using Prepare = Plan (*)(const Conv2dShape&);
using Supports = bool (*)(const Conv2dShape&);

constexpr Variant<Conv2dShape> winograd_row(Prepare prepare, Supports supports,
                                            double error_factor = winograd::kErrorFactor) {
  return {.name = "winograd",
          .dtypes = {DType::f32},
          .error_factor = error_factor,
          .note =
              "F(4x4, 3x3) and F(2x2, 5x5): a quarter and a third of the multiplications, as 36 "
              "matrix products in cache",
          .prepare = prepare,
          .supports = supports};
}
constexpr Variant<Conv2dShape> by_tap_row(Prepare prepare) {
  return {.name = "by_tap",
          .dtypes = {DType::f32, DType::bf16},
          .note = "maps of a few pixels: one matrix product a tap over the batch, padding left out",
          .prepare = prepare,
          .supports = by_tap::supports};
}
constexpr Variant<Conv2dShape> depthwise_row(Prepare prepare) {
  return {.name = "depthwise",
          .dtypes = {DType::f32},
          .note = "each channel by itself: taps of a pixel added up with the channels in vectors",
          .prepare = prepare,
          .supports = depthwise::supports};
}
Variant<Conv2dShape> onednn_row(Prepare prepare, Supports supports) {
  return {.name = "onednn",
          .dtypes = {DType::f32, DType::bf16},
          .note = "oneDNN's direct kernels, one image at a time on each thread of our own",
          .reason = onednn::missing,
          .compiled = onednn::missing.empty(),
          .prepare = prepare,
          .supports = supports};
}
// As the f32 kernel that it runs; of the gradient of weights nothing is rounded.
constexpr Variant<Conv2dShape> widened_row(Prepare prepare) {
  return {.name = "widened",
          .dtypes = {DType::bf16},
          .error_factor = winograd::kWeightGradientErrorFactor,
          .note = "f32's kernel on widened copies, where the processor has no bf16 arithmetic",
          .prepare = prepare};
}
template <Variants<Conv2dShape> (*family)()>
Plan in_f32(const Conv2dShape& s) {
  Conv2dShape f32 = s;
  f32.dtype = DType::f32;
  return prepare_from(family(), f32, f32.dtype, {Device::cpu(), {}});
}
// One that sums over a whole batch only.
template <Plan (*prepare)(const Conv2dShape&)>
Plan whole(const Conv2dShape& s) {
  return s.pieces > 0 ? Plan() : prepare(s);
}
std::int64_t x_elements(const Conv2dShape& s) { return s.N * s.H * s.W * s.I; }
std::int64_t y_elements(const Conv2dShape& s) { return s.N * s.P() * s.Q() * s.O; }
std::int64_t w_elements(const Conv2dShape& s) { return s.O * s.KH * s.KW * (s.I / s.groups); }

Plan widened_conv2d(const Conv2dShape& s) {
  Plan f32 = in_f32<conv2d_variants>(s);
  if (!s.bias) return widened(std::move(f32), {x_elements(s), w_elements(s)}, {y_elements(s)});
  return widened(std::move(f32), {x_elements(s), w_elements(s), kAsItIs}, {y_elements(s)});
}
Plan widened_data_gradient(const Conv2dShape& s) {
  return widened(in_f32<conv2d_data_gradient_variants>(s), {y_elements(s), w_elements(s)},
                 {x_elements(s)});
}
Plan widened_weight_gradient(const Conv2dShape& s) {
  Plan f32 = in_f32<conv2d_weight_gradient_variants>(s);
  if (!f32) return f32;
  return widened(std::move(f32), {x_elements(s), y_elements(s)}, {kAsItIs});
}

constexpr Variant<Conv2dShape> reference_row(Prepare prepare) {
  return {.name = "reference",
          .dtypes = {DType::f32, DType::f64, DType::bf16},
          .note = "loops as the textbook writes them; the oracle",
          .prepare = prepare};
}

// "3", or "3x1" where they differ.
std::string both(std::int64_t h, std::int64_t w) {
  return h == w ? std::to_string(h) : fmt::format("{}x{}", h, w);
}

}  // namespace

std::string Conv2dShape::key() const {
  if (N == 0) return "";
  std::string text = fmt::format("{} {}x{} {}->{} {}x{}", name_of(dtype), H, W, I, O, KH, KW);
  if (stride_h != 1 || stride_w != 1) text += " stride " + both(stride_h, stride_w);
  if (pad_h != 0 || pad_w != 0) text += " pad " + both(pad_h, pad_w);
  if (dilation_h != 1 || dilation_w != 1) text += " dilation " + both(dilation_h, dilation_w);
  if (groups != 1) text += fmt::format(" groups {}", groups);
  return text + (bias ? " bias" : "");
}

namespace cpu {

Rows<Conv2dShape> conv2d_variants() {
  static const Variant<Conv2dShape> rows[] = {
      winograd_row(winograd::conv2d, winograd::supports_conv2d),
      by_tap_row(by_tap::conv2d),
      onednn_row(onednn::conv2d, onednn::supports_conv2d),
      depthwise_row(depthwise::conv2d),
      widened_row(widened_conv2d),
      reference_row(reference::conv2d),
  };
  return rows;
}

Rows<Conv2dShape> conv2d_data_gradient_variants() {
  static const Variant<Conv2dShape> rows[] = {
      winograd_row(winograd::conv2d_data_gradient, winograd::supports_conv2d_data_gradient),
      {.name = "few_channels",
       .dtypes = {DType::f32},
       .note =
           "one matrix product for all taps, its rows added where they lie: no empty vector lanes",
       .prepare = few_channels::conv2d_data_gradient,
       .supports = few_channels::supports_conv2d_data_gradient},
      by_tap_row(by_tap::conv2d_data_gradient),
      onednn_row(onednn::conv2d_data_gradient, onednn::supports_conv2d_data_gradient),
      depthwise_row(depthwise::conv2d_data_gradient),
      widened_row(widened_data_gradient),
      reference_row(reference::conv2d_data_gradient),
  };
  return rows;
}

Rows<Conv2dShape> conv2d_weight_gradient_variants() {
  static const Variant<Conv2dShape> rows[] = {
      winograd_row(winograd::conv2d_weight_gradient, winograd::supports_conv2d_weight_gradient,
                   winograd::kWeightGradientErrorFactor),
      by_tap_row(by_tap::conv2d_weight_gradient),
      onednn_row(onednn::conv2d_weight_gradient, onednn::supports_conv2d_weight_gradient),
      depthwise_row(whole<depthwise::conv2d_weight_gradient>),
      widened_row(widened_weight_gradient),
      reference_row(whole<reference::conv2d_weight_gradient>),
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
