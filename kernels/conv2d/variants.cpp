// Which convolution runs where, best first.
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/few_channels.h"
#include "kernels/conv2d/onednn.h"
#include "kernels/conv2d/reference.h"
#include "kernels/conv2d/winograd.h"

namespace tapescope {
namespace {
constexpr DTypes kReference{DType::f32, DType::f64, DType::bf16};
constexpr DTypes kOnednn{DType::f32, DType::bf16};
constexpr std::string_view kWinogradNote =
    "F(4x4, 3x3) over NHWC: a quarter of the multiplications, as 36 matrix products in cache";
constexpr std::string_view kOnednnNote =
    "oneDNN's direct kernels, one image at a time on each thread of our own";
constexpr std::string_view kReferenceNote = "loops as the textbook writes them; the oracle";
}  // namespace

std::span<const Variant<Conv2dShape>> conv2d_variants() {
  static const Variant<Conv2dShape> table[] = {
      {{"conv2d", "winograd", DeviceKind::cpu, DTypes{DType::f32}, winograd::kErrorFactor,
        kWinogradNote, ""},
       winograd::conv2d,
       winograd::supports_conv2d},
      {{"conv2d", "onednn", DeviceKind::cpu, kOnednn, 1, kOnednnNote, onednn::missing},
       onednn::conv2d,
       onednn::supports_conv2d},
      {{"conv2d", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""},
       reference::conv2d},
  };
  return table;
}

std::span<const Variant<Conv2dShape>> conv2d_data_gradient_variants() {
  static const Variant<Conv2dShape> table[] = {
      {{"conv2d_data_gradient", "winograd", DeviceKind::cpu, DTypes{DType::f32},
        winograd::kErrorFactor, kWinogradNote, ""},
       winograd::conv2d_data_gradient,
       winograd::supports_conv2d_data_gradient},
      {{"conv2d_data_gradient", "few_channels", DeviceKind::cpu, DTypes{DType::f32}, 1,
        "one matrix product for all taps, its rows added where they lie: no empty vector lanes",
        ""},
       few_channels::conv2d_data_gradient,
       few_channels::supports_conv2d_data_gradient},
      {{"conv2d_data_gradient", "onednn", DeviceKind::cpu, kOnednn, 1, kOnednnNote,
        onednn::missing},
       onednn::conv2d_data_gradient,
       onednn::supports_conv2d_data_gradient},
      {{"conv2d_data_gradient", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""},
       reference::conv2d_data_gradient},
  };
  return table;
}

std::span<const Variant<Conv2dShape>> conv2d_weight_gradient_variants() {
  static const Variant<Conv2dShape> table[] = {
      {{"conv2d_weight_gradient", "winograd", DeviceKind::cpu, DTypes{DType::f32},
        winograd::kErrorFactor, kWinogradNote, ""},
       winograd::conv2d_weight_gradient,
       winograd::supports_conv2d_weight_gradient},
      {{"conv2d_weight_gradient", "onednn", DeviceKind::cpu, kOnednn, 1, kOnednnNote,
        onednn::missing},
       onednn::conv2d_weight_gradient,
       onednn::supports_conv2d_weight_gradient},
      {{"conv2d_weight_gradient", "reference", DeviceKind::cpu, kReference, 1, kReferenceNote, ""},
       reference::conv2d_weight_gradient},
  };
  return table;
}

}  // namespace tapescope
