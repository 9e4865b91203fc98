// Which convolution runs where, best first.
#include "kernels/conv2d/by_tap.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/depthwise_simd.h"
#include "kernels/conv2d/few_channels.h"
#include "kernels/conv2d/onednn.h"
#include "kernels/conv2d/reference.h"
#include "kernels/conv2d/winograd.h"

namespace tapescope {
namespace {

using Prepare = Plan (*)(const Conv2dShape&);
using Supports = bool (*)(const Conv2dShape&);

constexpr Variant<Conv2dShape> winograd_row(Prepare prepare, Supports supports) {
  return {
      .name = "winograd",
      .dtypes = {DType::f32},
      .error_factor = winograd::kErrorFactor,
      .note =
          "F(4x4, 3x3) over NHWC: a quarter of the multiplications, as 36 matrix products in cache",
      .prepare = prepare,
      .supports = supports};
}
constexpr Variant<Conv2dShape> by_tap_row(Prepare prepare) {
  return {.name = "by_tap",
          .dtypes = {DType::f32},
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
constexpr Variant<Conv2dShape> reference_row(Prepare prepare) {
  return {.name = "reference",
          .dtypes = {DType::f32, DType::f64, DType::bf16},
          .note = "loops as the textbook writes them; the oracle",
          .prepare = prepare};
}

}  // namespace

namespace cpu {

Rows<Conv2dShape> conv2d_variants() {
  static const Variant<Conv2dShape> rows[] = {
      winograd_row(winograd::conv2d, winograd::supports_conv2d),
      by_tap_row(by_tap::conv2d),
      onednn_row(onednn::conv2d, onednn::supports_conv2d),
      depthwise_row(depthwise::conv2d),
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
      reference_row(reference::conv2d_data_gradient),
  };
  return rows;
}

Rows<Conv2dShape> conv2d_weight_gradient_variants() {
  static const Variant<Conv2dShape> rows[] = {
      winograd_row(winograd::conv2d_weight_gradient, winograd::supports_conv2d_weight_gradient),
      by_tap_row(by_tap::conv2d_weight_gradient),
      onednn_row(onednn::conv2d_weight_gradient, onednn::supports_conv2d_weight_gradient),
      depthwise_row(depthwise::conv2d_weight_gradient),
      reference_row(reference::conv2d_weight_gradient),
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
