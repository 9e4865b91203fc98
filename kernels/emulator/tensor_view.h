// What a copy by tensor map (TMA) takes: a piece of a tensor in global memory, by coordinates. The
// description that both kinds of maps are made of, the driver's and the emulator's own:
// kernels/common/tensor_map.h.
#pragma once

#include <cstdint>

namespace tapescope::emulator {

// Elements are bf16, and what lies outside the tensor is zero. Dimensions are innermost first.
struct TensorView {
  const void* data = nullptr;
  int rank = 0;
  std::int64_t extent[5] = {};   // elements
  std::int64_t stride[5] = {2};  // bytes
  // Tiled: what one copy brings, elements of each dimension.
  int box[5] = {};
  // im2col, of {C, W, H, N}: one copy brings `channels` of `pixels` pixels. From the one that it is
  // given the pixels go along W, H and N in steps of step_w and step_h, within the box of each
  // image whose corners lie at lower, and at upper from the last pixel; each is read `offset`
  // further on.
  bool im2col = false;
  int channels = 0, pixels = 0;
  int lower_w = 0, lower_h = 0, upper_w = 0, upper_h = 0, step_w = 1, step_h = 1;
  // Rows of 128 bytes whose 16-byte pieces are exchanged: piece p of row r lies at p ^ r % 8.
  bool swizzled = true;

  std::int64_t bytes() const {  // of one copy
    if (im2col) return std::int64_t{2} * channels * pixels;
    std::int64_t elements = 1;
    for (int d = 0; d < rank; ++d) elements *= box[d];
    return 2 * elements;
  }
};

// The swizzle as a function of the address in shared memory: bits 4 to 6 are xored with 7 to 9.
constexpr unsigned swizzle_128(unsigned address) { return address ^ (address >> 3 & 0x70u); }

}  // namespace tapescope::emulator
