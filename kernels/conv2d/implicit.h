// The three convolutions as matrix products, for any rung that can multiply. A rung is
//
//   Rung{queue}, .pieces, .wide   where it runs, how a long sum is cut, wide loads or not
//   rung(problem)                 multiplies; see kernels/common/gemm_operands.h
//   kName<T>                      its name
//   pieces_for<T>(shape)          how it would cut the weight gradient
//
// The weight gradient adds up over all pixels of the batch: pieces of that sum go to different
// blocks, and a second launch adds them in their order. No atomics, the same bits every time.
#pragma once

#include "kernels/conv2d/implicit_phases.h"

namespace tapescope::TAPESCOPE_GPU {

template <class T>
const T* in(const Buffers& b, int i) {
  return static_cast<const T*>(b.in[i]);
}

// `go(problem)` multiplies.
template <class T, class Go>
void forward(const Conv& s, bool bias, const Buffers& b, Go&& go) {
  const int M = s.N * s.P * s.Q, K = s.KH * s.KW * s.I;
  if (M == 0 || s.O == 0) return;
  const float* values = bias ? in<float>(b, 2) : nullptr;  // {O}
  const Windows<T> x{
      in<T>(b, 0), s.H,        s.W,        s.N,          s.P,          s.Q,  -s.pad_h,
      -s.pad_w,    s.stride_h, s.stride_w, s.dilation_h, s.dilation_w, s.KH, Radix{s.KW, s.I}};
  const MatrixAlongK<T> w{in<T>(b, 1), s.O, K, K};
  const StoreMatrix<T> y{static_cast<T*>(b.out[0]), values, M, s.O};
  go(Product<Windows<T>, MatrixAlongK<T>, StoreMatrix<T>>{x, w, y, K});
}
template <class T, class Go>
void data_gradient(const Conv& s, const Buffers& b, Go&& go) {
  if (s.N * s.H * s.W == 0 || s.I == 0) return;
  const DataGradient<T> phases{in<T>(b, 0), in<T>(b, 1), static_cast<T*>(b.out[0]), s};
  if (phases.parts() > 1) {
    go(phases);
  } else {  // the same without what has to be found out in the kernel
    const auto all = phases.part(0);
    const StoreMatrix<T> dx{all.store.dx, nullptr, all.store.M, s.I};
    go(Product<Windows<T>, WeightOfInput<T>, StoreMatrix<T>>{all.a, all.b, dx, all.K});
  }
}
template <class T, class Go>
void weight_gradient(const Conv& s, const Buffers& b, const Pieces& pieces, const Queue& queue,
                     Go&& go) {
  const int N = s.KH * s.KW * s.I, K = s.N * s.P * s.Q;
  if (s.O == 0 || N == 0) return;
  float* dw = static_cast<float*>(b.out[0]);  // {O,KH,KW,I}
  const MatrixAlongOuter<T> dy{in<T>(b, 1), s.O, K, s.O};
  const InputOfWeight<T> x{in<T>(b, 0), s, Radix{max(s.P, 1), max(s.Q, 1)}};
  if (pieces.count == 1) {
    const StoreMatrix<float> all{dw, nullptr, s.O, N};
    go(Product<MatrixAlongOuter<T>, InputOfWeight<T>, StoreMatrix<float>>{dy, x, all, K});
    return;
  }
  float* partial = static_cast<float*>(b.workspace);  // {pieces, O, KH * KW * I}
  const StorePieces parts{partial, s.O, N};
  go(Product<MatrixAlongOuter<T>, InputOfWeight<T>, StorePieces>{dy, x, parts, K});
  const std::int64_t n = std::int64_t{s.O} * N;
  launch<sum_pieces<float>>(queue, blocks_for(n, 256), 256, 0, static_cast<const float*>(partial),
                            dw, n, pieces.count);
}

// Whether 16 bytes of both operands may be read at once.
inline bool both_aligned(const Buffers& b) { return aligned(b.in[0], 16) && aligned(b.in[1], 16); }

template <class Rung, class T>
Plan forward_plan(const Conv2dShape& shape) {
  return Plan(Rung::template kName<T>, 0,
              [s = conv_of(shape), bias = shape.bias](const Queue& queue, const Buffers& b) {
                Rung rung{queue};
                rung.wide = s.I % kPackWidth<T> == 0 && both_aligned(b);
                forward<T>(s, bias, b, rung);
              });
}
template <class Rung, class T>
Plan data_gradient_plan(const Conv2dShape& shape) {
  return Plan(Rung::template kName<T>, 0,
              [s = conv_of(shape)](const Queue& queue, const Buffers& b) {
                Rung rung{queue};
                rung.wide = s.I % kPackWidth<T> == 0 && s.O % kPackWidth<T> == 0 && both_aligned(b);
                data_gradient<T>(s, b, rung);
              });
}
template <class Rung, class T>
Plan weight_gradient_plan(const Conv2dShape& shape) {
  const Pieces pieces = Rung::template pieces_for<T>(shape);
  const std::int64_t weights = shape.O * shape.KH * shape.KW * shape.I;
  const std::size_t workspace =
      pieces.count > 1 ? static_cast<std::size_t>(pieces.count * weights) * sizeof(float) : 0;
  return Plan(Rung::template kName<T>, workspace,
              [s = conv_of(shape), pieces](const Queue& queue, const Buffers& b) {
                Rung rung{queue};
                rung.pieces = pieces;
                rung.cut = true;
                rung.wide = s.I % kPackWidth<T> == 0 && s.O % kPackWidth<T> == 0 && both_aligned(b);
                weight_gradient<T>(s, b, pieces, queue, rung);
              });
}

template <class Rung>
Plan prepare_forward(const Conv2dShape& s) {
  return s.dtype == DType::bf16 ? forward_plan<Rung, bf16>(s) : forward_plan<Rung, float>(s);
}
template <class Rung>
Plan prepare_data_gradient(const Conv2dShape& s) {
  return s.dtype == DType::bf16 ? data_gradient_plan<Rung, bf16>(s)
                                : data_gradient_plan<Rung, float>(s);
}
template <class Rung>
Plan prepare_weight_gradient(const Conv2dShape& s) {
  return s.dtype == DType::bf16 ? weight_gradient_plan<Rung, bf16>(s)
                                : weight_gradient_plan<Rung, float>(s);
}

}  // namespace tapescope::TAPESCOPE_GPU
