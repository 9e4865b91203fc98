// The matrix product on tensor cores: bf16 as it is, f32 rounded to tf32. A warp multiplies 16 x 16
// by 16 x 8 (or 16 x 8 by 8 x 8) in one instruction, some 16 (8) times what the same cycles do in
// f32 units; what is left to do is to bring operands fast enough: see kernels/common/tensor_gemm.h.
#include "kernels/common/tensor_gemm.h"
#include "kernels/matmul/rungs.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

template <class T>
Plan plan_of(const MatmulShape& s, std::string_view name) {
  return Plan(name, 0, [s](const Queue& queue, const Buffers& buffers) {
    if (s.M * s.N == 0) return;
    const MatmulPointers<T> p(s, buffers);
    with_product(s, p, [&](const auto& product) {
      launch_tensor_gemm(queue, in_packs(s, p), tensor_tile_for(s.M, s.N), product);
    });
  });
}

}  // namespace

Plan matmul_tensor_core(const MatmulShape& s) {
  return s.dtype == DType::bf16 ? plan_of<bf16>(s, "tensor_core")
                                : plan_of<float>(s, "tensor_core_tf32");
}

}  // namespace tapescope::TAPESCOPE_GPU
