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
  // As many pieces as fill the multiprocessors once: two large tiles fit on one, four of the
  // others.
  template <class T>
  static Pieces pieces_for(const Conv2dShape& s) {
    const std::int64_t M = s.O, N = s.KH * s.KW * s.I;
    const auto by = [&]<class Tile>(std::int64_t side_by_side) {
      const std::int64_t tiles =
          ceil_div<std::int64_t>(M, Tile::kBM) * ceil_div<std::int64_t>(N, Tile::kBN);
      return pieces_of(s, tiles, side_by_side * kMultiprocessors, kTensorBK<T>);
    };
    switch (tensor_tile_for(M, N, true)) {
      case TensorTiles::large:
        return by.template operator()<LargeTensorTile>(2);
      case TensorTiles::narrow:
        return by.template operator()<NarrowTensorTile>(4);
      case TensorTiles::small:
        break;
    }
    return by.template operator()<SmallTensorTile>(4);
  }
  const Queue& queue;
  Pieces pieces{1, 0x7fffffff};
  bool wide = false;
  bool cut = false;  // whether the sum over k may be
  template <class Problem>
  void operator()(const Problem& problem) const {
    launch_tensor_gemm(queue, wide, tensor_tile_for(problem.rows(), problem.store.N, cut), problem,
                       pieces.count, pieces.length);
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
