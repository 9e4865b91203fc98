// What the matrix product's rungs share, and those that have files of their own.
#pragma once

#include "kernels/common/gemm_operands.h"
#include "kernels/matmul/matmul.h"

namespace tapescope::TAPESCOPE_GPU {

constexpr DTypes kMatmulDTypes{DType::f32, DType::bf16};

// Rows, columns and depth are counted in int on the device, and so are the bytes of a row.
inline bool matmul_fits_int(const MatmulShape& s) {
  constexpr std::int64_t kMost = 0x1fffffff;
  return s.M < kMost && s.N < kMost && s.K < kMost;
}

template <class T>
struct MatmulPointers {
  const T *a, *b;
  const float* bias;
  T* c;
  MatmulPointers(const MatmulShape& s, const Buffers& buffers)
      : a(static_cast<const T*>(buffers.in[0])),
        b(static_cast<const T*>(buffers.in[1])),
        bias(s.bias ? static_cast<const float*>(buffers.in[2]) : nullptr),
        c(static_cast<T*>(buffers.out[0])) {}
};

// Calls f with both operands as gemm.h wants them.
template <class T, class F>
void with_operands(const MatmulShape& s, const MatmulPointers<T>& p, F&& f) {
  const int M = static_cast<int>(s.M), N = static_cast<int>(s.N), K = static_cast<int>(s.K);
  const MatrixAlongK<T> a{p.a, M, K, K}, b_transposed{p.b, N, K, K};
  const MatrixAlongOuter<T> a_transposed{p.a, M, K, M}, b{p.b, N, K, N};
  if (s.transpose_a) {
    s.transpose_b ? f(a_transposed, b_transposed) : f(a_transposed, b);
  } else {
    s.transpose_b ? f(a, b_transposed) : f(a, b);
  }
}

// Calls f with what stores sums into c, which is f32 where a wide result of bf16 is asked for.
template <class T, class F>
void with_store(const MatmulShape& s, const MatmulPointers<T>& p, F&& f) {
  const int M = static_cast<int>(s.M), N = static_cast<int>(s.N);
  if (s.wide) {
    f(StoreMatrix<float>{reinterpret_cast<float*>(p.c), p.bias, M, N});
  } else {
    f(StoreMatrix<T>{p.c, p.bias, M, N});
  }
}

// Calls f with the product as gemm.h wants it.
template <class T, class F>
void with_product(const MatmulShape& s, const MatmulPointers<T>& p, F&& f) {
  with_operands(s, p, [&](const auto& a, const auto& b) {
    with_store(s, p, [&](const auto& store) {
      using A = std::remove_cvref_t<decltype(a)>;
      using B = std::remove_cvref_t<decltype(b)>;
      using Store = std::remove_cvref_t<decltype(store)>;
      f(Product<A, B, Store>{a, b, store, static_cast<int>(s.K)});
    });
  });
}

// Whether 16 bytes of both operands lie together and aligned.
template <class T>
bool in_packs(const MatmulShape& s, const MatmulPointers<T>& p) {
  constexpr int kWidth = kPackWidth<T>;
  return (s.transpose_a ? s.M : s.K) % kWidth == 0 && (s.transpose_b ? s.K : s.N) % kWidth == 0 &&
         aligned(p.a, 16) && aligned(p.b, 16);
}

// tensor_core.cu: bf16, or f32 as tf32.
Plan matmul_tensor_core(const MatmulShape& shape);
// wgmma.cu: bf16 on Hopper.
Plan matmul_wgmma(const MatmulShape& shape);
bool matmul_fits_wgmma(const MatmulShape& shape);

}  // namespace tapescope::TAPESCOPE_GPU
