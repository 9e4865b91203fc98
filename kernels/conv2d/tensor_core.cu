// Convolution and its gradients on tensor cores, as matrix products that are never in memory: the
// multiplication is kernels/common/tensor_gemm.h, where elements lie is operands.h.
//
//   tensor_core:      bf16. cp.async brings 16 bytes of channels straight into shared memory, three
//                     steps deep, and a warp multiplies 16 x 8 x 16 in one instruction.
//   tensor_core_tf32: the same for f32 rounded to tf32, 16 x 8 x 8 an instruction.
#include "kernels/common/tensor_gemm.h"
#include "kernels/conv2d/implicit.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

struct TensorCore {
  template <class T>
  static constexpr std::string_view kName = sizeof(T) == 2 ? "tensor_core" : "tensor_core_tf32";
  template <class T>
  static constexpr int kStep = kTensorBK<T>;
  static constexpr int kRows = SmallTensorTile::kBM, kColumns = SmallTensorTile::kBN;
  const Queue& queue;
  Pieces pieces{1, 0x7fffffff};
  bool wide = false;
  template <class A, class B, class Store>
  void operator()(const A& a, const B& b, const Store& store, int M, int N, int K) const {
    launch_tensor_gemm(queue, wide, a, b, store, M, N, K, pieces.count, pieces.length);
  }
};

}  // namespace

Plan conv2d_tensor_core(const Conv2dShape& s) { return prepare_forward<TensorCore>(s); }
Plan conv2d_data_gradient_tensor_core(const Conv2dShape& s) {
  return prepare_data_gradient<TensorCore>(s);
}
Plan conv2d_weight_gradient_tensor_core(const Conv2dShape& s) {
  return prepare_weight_gradient<TensorCore>(s);
}

}  // namespace tapescope::TAPESCOPE_GPU
