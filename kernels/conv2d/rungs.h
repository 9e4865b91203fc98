// The convolutions' rungs on a GPU: one file each, one table in gpu_variants.cu.
#pragma once

#include "kernels/common/gpu.h"
#include "kernels/conv2d/conv2d.h"

namespace tapescope::TAPESCOPE_GPU {

// The sizes of Conv2dShape as device code wants them.
struct Conv {
  int N, H, W, I, O, KH, KW, P, Q, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
};
inline Conv conv_of(const Conv2dShape& s) {
  const auto i = [](std::int64_t x) { return static_cast<int>(x); };
  return {i(s.N),     i(s.H),          i(s.W),          i(s.I),        i(s.O),        i(s.KH),
          i(s.KW),    i(s.P()),        i(s.Q()),        i(s.stride_h), i(s.stride_w), i(s.pad_h),
          i(s.pad_w), i(s.dilation_h), i(s.dilation_w), i(s.groups)};
}
// Pixels of the batch are counted in int on the device.
inline bool conv_fits_int(const Conv2dShape& s) {
  constexpr std::int64_t kMost = 0x7fffffff - 256;
  return s.N * s.H * s.W < kMost && s.N * s.P() * s.Q() < kMost && s.KH * s.KW * s.I < kMost &&
         s.KH * s.KW * s.O < kMost;
}
inline bool conv_is_depthwise(const Conv2dShape& s) {
  return s.groups > 1 && s.groups == s.I && s.groups == s.O && s.KH * s.KW <= 256 &&
         conv_fits_int(s);
}
// The data gradient's phases, one for each place within a stride, are a grid's third extent.
inline bool conv_is_dense(const Conv2dShape& s) {
  return s.groups == 1 && conv_fits_int(s) && s.stride_h * s.stride_w < 65536;
}

// The output position at which input position `at` is read by tap `k`; -1 where there is none.
__device__ inline int reader(int at, int k, int stride, int pad, int dilation, int outputs) {
  const int up = at + pad - k * dilation;  // = p * stride
  return up >= 0 && up % stride == 0 && up / stride < outputs ? up / stride : -1;
}

constexpr DTypes kConvDTypes{DType::f32, DType::bf16};

// naive.cu
Plan conv2d_naive(const Conv2dShape& shape);
Plan conv2d_data_gradient_naive(const Conv2dShape& shape);
Plan conv2d_weight_gradient_naive(const Conv2dShape& shape);
// depthwise.cu; as many groups as channels
Plan conv2d_depthwise(const Conv2dShape& shape);
Plan conv2d_data_gradient_depthwise(const Conv2dShape& shape);
Plan conv2d_weight_gradient_depthwise(const Conv2dShape& shape);
// implicit_gemm.cu; dense convolutions only
Plan conv2d_tiled(const Conv2dShape& shape);
Plan conv2d_data_gradient_tiled(const Conv2dShape& shape);
Plan conv2d_weight_gradient_tiled(const Conv2dShape& shape);
Plan conv2d_implicit_gemm(const Conv2dShape& shape);
Plan conv2d_data_gradient_implicit_gemm(const Conv2dShape& shape);
Plan conv2d_weight_gradient_implicit_gemm(const Conv2dShape& shape);
// tensor_core.cu; dense convolutions only: bf16, or f32 as tf32
Plan conv2d_tensor_core(const Conv2dShape& shape);
Plan conv2d_data_gradient_tensor_core(const Conv2dShape& shape);
Plan conv2d_weight_gradient_tensor_core(const Conv2dShape& shape);
// wgmma.cu; bf16 on Hopper, channels in whole packs
Plan conv2d_wgmma(const Conv2dShape& shape);
Plan conv2d_data_gradient_wgmma(const Conv2dShape& shape);
Plan conv2d_weight_gradient_wgmma(const Conv2dShape& shape);
bool conv_fits_wgmma(const Conv2dShape& shape);  // forward, and the weight gradient
bool conv_data_gradient_fits_wgmma(const Conv2dShape& shape);

}  // namespace tapescope::TAPESCOPE_GPU
