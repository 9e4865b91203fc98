// Convolution and its gradients on a GPU as matrix products whose matrices are never in memory:
// operands.h says where their elements lie, kernels/common/gemm.h multiplies.
//
//   tiled:         16 x 16 tiles through shared memory, a result a thread: a 16th of the reads of
//                  naive, and padding is decided while loading instead of in the innermost loop.
//   implicit_gemm: 4 x 4 or 8 x 8 results a thread in registers, 16-byte loads where channels and
//                  alignment allow: four to eight times the arithmetic for each read of shared
//                  memory, which `tiled` waits for.
//
// The weight gradient adds up over all pixels of the batch: pieces of that sum go to different
// blocks, and a second launch adds them in their order. No atomics, the same bits every time.
#include "kernels/conv2d/operands.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

template <class T>
const T* in(const Buffers& b, int i) {
  return static_cast<const T*>(b.in[i]);
}

// `go(a, b, store, M, N, K)` multiplies.
template <class T, class Go>
void forward(const Conv& s, bool bias, const Buffers& b, Go&& go) {
  const int M = s.N * s.P * s.Q, K = s.KH * s.KW * s.I;
  if (M == 0 || s.O == 0) return;
  const T* values = bias ? in<T>(b, 2) : nullptr;  // {O}
  go(InputOfOutput<T>{in<T>(b, 0), s}, MatrixAlongK<T>{in<T>(b, 1), s.O, K, K},
     StoreMatrix<T>{static_cast<T*>(b.out[0]), values, M, s.O}, M, s.O, K);
}
template <class T, class Go>
void data_gradient(const Conv& s, const Buffers& b, Go&& go) {
  const int M = s.N * s.H * s.W, K = s.KH * s.KW * s.O;
  if (M == 0 || s.I == 0) return;
  go(OutputOfInput<T>{in<T>(b, 0), s}, WeightOfInput<T>{in<T>(b, 1), s},
     StoreMatrix<T>{static_cast<T*>(b.out[0]), nullptr, M, s.I}, M, s.I, K);
}
template <class T, class Go>
void weight_gradient(const Conv& s, const Buffers& b, const Pieces& pieces, const Queue& queue,
                     Go&& go) {
  const int N = s.KH * s.KW * s.I, K = s.N * s.P * s.Q;
  if (s.O * N == 0) return;
  T* dw = static_cast<T*>(b.out[0]);  // {O,KH,KW,I}
  const MatrixAlongOuter<T> dy{in<T>(b, 1), s.O, K, s.O};
  const InputOfWeight<T> x{in<T>(b, 0), s};
  if (pieces.count == 1) {
    go(dy, x, StoreMatrix<T>{dw, nullptr, s.O, N}, s.O, N, K);
    return;
  }
  float* partial = static_cast<float*>(b.workspace);  // {pieces, O, KH * KW * I}
  go(dy, x, StorePieces{partial, s.O, N}, s.O, N, K);
  const std::int64_t n = std::int64_t{s.O} * N;
  launch<sum_pieces<T>>(queue, blocks_for(n, 256), 256, 0, static_cast<const float*>(partial), dw,
                        n, pieces.count);
}

// How a rung multiplies: a result a thread, or blocks of registers.
struct Tiled {
  static constexpr std::string_view kName = "tiled";
  static constexpr int kRows = ScalarTile::kBM, kColumns = ScalarTile::kBN;
  const Queue& queue;
  Pieces pieces{1, 0x7fffffff};
  template <class A, class B, class Store>
  void operator()(const A& a, const B& b, const Store& store, int M, int N, int K) const {
    launch_gemm<ScalarTile, 1>(queue, a, b, store, M, N, K, pieces.count, pieces.length);
  }
};
struct Blocked {
  static constexpr std::string_view kName = "implicit_gemm";
  static constexpr int kRows = SmallTile::kBM, kColumns = SmallTile::kBN;
  const Queue& queue;
  Pieces pieces{1, 0x7fffffff};
  bool wide = false;
  template <class A, class B, class Store>
  void operator()(const A& a, const B& b, const Store& store, int M, int N, int K) const {
    launch_blocked_gemm(queue, wide, a, b, store, M, N, K, pieces.count, pieces.length);
  }
};

template <class Rung>
void set_wide(Rung& rung, bool wide) {
  if constexpr (std::is_same_v<Rung, Blocked>) rung.wide = wide;
}
template <class T>
bool both_aligned(const Buffers& b) {
  return aligned(b.in[0], 16) && aligned(b.in[1], 16);
}

template <class Rung, class T>
Plan forward_plan(const Conv2dShape& shape) {
  return Plan(Rung::kName, 0,
              [s = conv_of(shape), bias = shape.bias](const Queue& queue, const Buffers& b) {
                Rung rung{queue};
                set_wide(rung, s.I % kPackWidth<T> == 0 && both_aligned<T>(b));
                forward<T>(s, bias, b, rung);
              });
}
template <class Rung, class T>
Plan data_gradient_plan(const Conv2dShape& shape) {
  return Plan(Rung::kName, 0, [s = conv_of(shape)](const Queue& queue, const Buffers& b) {
    Rung rung{queue};
    set_wide(rung, s.I % kPackWidth<T> == 0 && s.O % kPackWidth<T> == 0 && both_aligned<T>(b));
    data_gradient<T>(s, b, rung);
  });
}
template <class Rung, class T>
Plan weight_gradient_plan(const Conv2dShape& shape) {
  const Pieces pieces = pieces_of(shape, Rung::kRows, Rung::kColumns, ScalarTile::kBK);
  const std::int64_t weights = shape.O * shape.KH * shape.KW * shape.I;
  const std::size_t workspace =
      pieces.count > 1 ? static_cast<std::size_t>(pieces.count * weights) * sizeof(float) : 0;
  return Plan(
      Rung::kName, workspace, [s = conv_of(shape), pieces](const Queue& queue, const Buffers& b) {
        Rung rung{queue, pieces};
        set_wide(rung, s.I % kPackWidth<T> == 0 && s.O % kPackWidth<T> == 0 && both_aligned<T>(b));
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

}  // namespace

Plan conv2d_tiled(const Conv2dShape& s) { return prepare_forward<Tiled>(s); }
Plan conv2d_data_gradient_tiled(const Conv2dShape& s) { return prepare_data_gradient<Tiled>(s); }
Plan conv2d_weight_gradient_tiled(const Conv2dShape& s) {
  return prepare_weight_gradient<Tiled>(s);
}
Plan conv2d_implicit_gemm(const Conv2dShape& s) { return prepare_forward<Blocked>(s); }
Plan conv2d_data_gradient_implicit_gemm(const Conv2dShape& s) {
  return prepare_data_gradient<Blocked>(s);
}
Plan conv2d_weight_gradient_implicit_gemm(const Conv2dShape& s) {
  return prepare_weight_gradient<Blocked>(s);
}

}  // namespace tapescope::TAPESCOPE_GPU
