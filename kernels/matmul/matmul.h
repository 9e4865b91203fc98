// Matrix product: c = op(a) op(b) + bias, where op transposes or not.
//
// Row m of c depends on row m of op(a) alone, bit for bit: every element is summed in the same
// order whatever M is and wherever a tile ends, so a batch answers as its samples do one by one.
#pragma once

#include "kernels/common/variant.h"

namespace tapescope {

struct MatmulShape {
  DType dtype = DType::f32;
  bool bias = false;
  bool transpose_a = false;  // a is {K, M} instead of {M, K}
  bool transpose_b = false;  // b is {N, K} instead of {K, N}
  std::int64_t M = 0, N = 0, K = 0;
  bool wide = false;  // of bf16: c is f32
  // K is a batch that is cut into pieces, summed one by one and added as kernels/common/pieces.h
  // has it: `simd` alone has that, of a transposed a, without bias, where c is f32. 0: it is not.
  std::int64_t pieces = 0;
  std::string key() const;  // kernels/common/choice.h
};

// in: a {M,K}, b {K,N} (or transposed), bias {N} or null    out: c {M,N}; the bias of bf16 is f32
Variants<MatmulShape> matmul_variants();

}  // namespace tapescope
