// Dropout of floats with Philox in vectors, once per instruction set.
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

struct DropoutRow {
  std::uint32_t key0, key1;  // Philox key
  std::uint64_t row;         // counter words 0 and 1
  std::uint32_t threshold;   // keep where the upper 24 bits are at least this
  float scale;               // 1 / (1 - p)
};

struct DropoutKernels {
  // Elements [begin, begin + n) of a row, `begin` a multiple of 4: y[i] = keep ? scale * x[i] : 0;
  // x and y point to element `begin`.
  void (*run)(const DropoutRow& row, std::int64_t begin, std::int64_t n, const float* x, float* y);
};
TAPESCOPE_DECLARE_ISA_TABLE(DropoutKernels, dropout_kernels)

}  // namespace tapescope
