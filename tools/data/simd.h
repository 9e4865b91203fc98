// The two passes of resize.cpp, compiled once per instruction set: see cmake/TapescopeIsa.cmake for
// what may be included here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

constexpr int kWeightBits = 22;  // a product of weight and pixel still fits 32 bits

// Sums of so many values are done side by side. Neighbours in a row of pixels have other weights:
// 16 rows (or 4 of three channels and a spare one) are laid side by side first, and taken apart
// again afterwards. Both passes are then the same sum.
constexpr int kLanes = 16;

// Output i is the sum over k < count[i] of weight[i * most + k] * input[first[i] + k].
struct ResizeTaps {
  const int* first;
  const int* count;
  const std::int32_t* weight;
  int most;
};

struct ResizeKernels {
  // A row of `n` values out of the rows below each other from `in` on. out: u8 {n}
  void (*rows)(const std::uint8_t* in, std::ptrdiff_t stride, const std::int32_t* weight, int count,
               int n, std::uint8_t* out);
  // `rows` rows u8 {.., channels}, 1 or 3 of these, to `width` pixels each. `scratch` holds kLanes
  // bytes for each column of the input.
  void (*columns)(const std::uint8_t* in, std::ptrdiff_t stride, int rows, int channels,
                  const ResizeTaps& taps, int width, std::uint8_t* scratch, std::uint8_t* out);
};
TAPESCOPE_DECLARE_ISA_TABLE(ResizeKernels, resize_kernels)

}  // namespace tapescope
