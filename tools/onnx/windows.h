// Windows over the one or two spatial axes of an image: what Conv, ConvTranspose and the pools say
// of kernel, stride, dilation and padding. A signal {N, C, W} is an image of height 1.
#pragma once

#include <array>

#include "tools/onnx/recorder.h"

namespace tapescope::onnx {

// An operand as an image {N, H, W, C} on the tape.
struct Image {
  Var x;
  Value like;         // the operand's type, layout and batch
  bool flat = false;  // it has one spatial axis
  std::int64_t height() const { return x.shape()[1]; }
  std::int64_t width() const { return x.shape()[2]; }
};
// A usage error where the operand has no spatial axes or more than two.
Image image_of(const Call& call, int operand = 0);
void give_image(Call& call, Var y, const Image& image);

// Of height, then of width.
using Two = std::array<std::int64_t, 2>;
struct Windows {
  Two kernel{1, 1}, stride{1, 1}, dilation{1, 1}, before{}, after{};
  Two effective() const {
    return {(kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1};
  }
};

// The attributes of a node whose kernel has these extents (of its spatial axes, where not flat
// both). Padding that auto_pad leaves to the image's size is worked out for it.
Windows windows_of(const Call& call, const Image& image, const Two& kernel);
// kernel_shape as an attribute.
Two kernel_shape(const Call& call, const Image& image);
// An attribute with one number per spatial axis.
Two spatial(const Call& call, const Image& image, std::string_view name, std::int64_t usual);

// x with the margins of `windows` added explicitly, filled with `value`.
Var padded(Var x, const Two& before, const Two& after, double value);

}  // namespace tapescope::onnx
