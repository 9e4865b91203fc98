// Convolution and its gradients on a GPU as matrix products whose matrices are never in memory:
// operands.h says where their elements lie, kernels/common/gemm.h multiplies.
//
//   tiled:         16 x 16 tiles through shared memory, one result per thread: a 16th of the reads
//                  of naive, and padding is decided while loading instead of in the innermost loop.
//   implicit_gemm: 4 x 4 or 8 x 8 results per thread in registers, 16-byte loads where channels and
//                  alignment allow: four to eight times the arithmetic for each read of shared
//                  memory, which `tiled` waits for.
#include "kernels/common/gemm.h"
#include "kernels/conv2d/implicit.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

// How a rung multiplies: one result per thread, or blocks of registers.
template <class Tile>
Pieces pieces_by(const Conv2dShape& s) {
  const std::int64_t tiles =
      ceil_div<std::int64_t>(s.O, Tile::kBM) * ceil_div<std::int64_t>(s.KH * s.KW * s.I, Tile::kBN);
  return pieces_of(s, tiles, 512, Tile::kBK);
}
struct Tiled {
  template <class T>
  static constexpr std::string_view kName = "tiled";
  template <class T>
  static Pieces pieces_for(const Conv2dShape& s) {
    return pieces_by<ScalarTile>(s);
  }
  const Queue& queue;
  Pieces pieces{1, 0x7fffffff};
  bool wide = false;  // this rung reads element by element
  bool cut = false;
  template <class Problem>
  void operator()(const Problem& problem) const {
    launch_gemm<ScalarTile, 1>(queue, problem, pieces.count, pieces.length);
  }
};
struct Blocked {
  template <class T>
  static constexpr std::string_view kName = "implicit_gemm";
  template <class T>
  static Pieces pieces_for(const Conv2dShape& s) {
    return pieces_by<SmallTile>(s);
  }
  const Queue& queue;
  Pieces pieces{1, 0x7fffffff};
  bool wide = false;
  bool cut = false;
  template <class Problem>
  void operator()(const Problem& problem) const {
    launch_blocked_gemm(queue, wide, problem, pieces.count, pieces.length);
  }
};

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
