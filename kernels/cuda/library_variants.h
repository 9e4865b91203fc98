// The variants that NVIDIA's libraries bring: what is listed of them, with or without CUDA.
#pragma once

#include "kernels/common/variant.h"

namespace tapescope {

// A row of the family's table before it is known whether the library is there.
struct LibraryVariant {
  std::string_view family, name, note;
};

inline constexpr std::string_view kCudnnNote =
    "cuDNN's graph API: its first engine that is deterministic and computes in the dtype";
inline constexpr LibraryVariant kCudnnForward{"conv2d", "cudnn", kCudnnNote};
inline constexpr LibraryVariant kCudnnDataGradient{"conv2d_data_gradient", "cudnn", kCudnnNote};
inline constexpr LibraryVariant kCudnnWeightGradient{"conv2d_weight_gradient", "cudnn", kCudnnNote};
inline constexpr LibraryVariant kCublas{
    "matmul", "cublas", "cuBLASLt's first algorithm without atomic sums, bias in its epilogue"};

inline constexpr LibraryVariant kLibraryVariants[] = {kCudnnForward, kCudnnDataGradient,
                                                      kCudnnWeightGradient, kCublas};

template <class Shape>
constexpr Variant<Shape> library_row(const LibraryVariant& library) {
  return {.name = library.name, .dtypes = {DType::f32, DType::bf16}, .note = library.note};
}

}  // namespace tapescope
