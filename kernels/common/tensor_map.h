// What tensor maps are made of: descriptions of a tensor that the driver (on a GPU) or the emulator
// turns into the map of a copy. See kernels/emulator/tensor_view.h for the fields.
#pragma once

#include "kernels/emulator/tensor_view.h"

namespace tapescope {

using emulator::TensorView;

// Throws a failure that names the field where the hardware could not take the view: limits are
// those of cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col.
void check(const TensorView& view);

// All of bf16, copied in rows of at most 64 elements, which a swizzle of 128 bytes lays out.

// A matrix {rows, columns}: copies of box_rows x 64.
TensorView matrix_view(const void* data, std::int64_t rows, std::int64_t columns, int box_rows);
// {outer, middle, inner}: copies of box_outer x 1 x 64.
TensorView stack_view(const void* data, std::int64_t outer, std::int64_t middle, std::int64_t inner,
                      int box_outer);

// Images {N, H, W, C} as a convolution reads them: out_h x out_w windows an image, one every
// stride pixels from -pad on. A copy brings 64 channels of `pixels` windows, at the tap that it is
// given.
struct ImageWindows {
  std::int64_t N, H, W, C;
  int out_h, out_w, stride_h, stride_w, pad_h, pad_w;
};
TensorView windows_view(const void* data, const ImageWindows& windows, int pixels);
// Whether the corners and strides of such a view are ones that the hardware has.
bool windows_fit(const ImageWindows& windows);

}  // namespace tapescope
