// The matrix product on Hopper's own units, bf16: copies by tensor map bring tiles into shared
// memory without a register or an address of any thread, and whole warpgroups multiply them from
// there, 64 x 256 x 16 an instruction. kernels/common/hopper_gemm.h has the loop.
//
// Bytes of shared memory a multiply-add: mma's warps of 64 x 32 read (64 + 32) * 2 for 64 * 32, a
// tenth of a byte, which holds them at half of what the units could do; a wgmma of 64 x 256 reads
// (64 + 256) * 2 for 64 * 256, a twenty-fifth, 80 bytes a clock of the 128 that there are.
#include "kernels/common/hopper_gemm.h"
#include "kernels/matmul/rungs.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

template <bool a_along_k, bool b_along_k, class C>
void run_product(const Queue& queue, const MatmulShape& s, const MatmulPointers<bf16>& p,
                 const TileStore<C>& store) {
  const int M = static_cast<int>(s.M), N = static_cast<int>(s.N);
  const int steps = static_cast<int>(ceil_div<std::int64_t>(s.K, 64));
  with_hopper_columns(hopper_columns(M, N), [&]<int Columns> {
    launch_hopper_tile<HopperTile<128, Columns>>(
        queue, mapped_matrix<a_along_k, 2>(p.a, s.M, s.K),
        mapped_matrix<b_along_k, Columns / 64>(p.b, s.N, s.K), store, M, N, steps, 1);
  });
}

template <class C>
void run_with(const Queue& queue, const MatmulShape& s, const MatmulPointers<bf16>& p, C* c) {
  const TileStore<C> store{c, p.bias, static_cast<int>(s.M), static_cast<int>(s.N)};
  if (s.transpose_a) {
    s.transpose_b ? run_product<false, true>(queue, s, p, store)
                  : run_product<false, false>(queue, s, p, store);
  } else {
    s.transpose_b ? run_product<true, true>(queue, s, p, store)
                  : run_product<true, false>(queue, s, p, store);
  }
}

}  // namespace

bool matmul_fits_wgmma(const MatmulShape& s) {
  // Rows of what is stored are whole packs of 16 bytes. Narrower products leave half a tile empty.
  return matmul_fits_int(s) && s.N % 8 == 0 && s.N >= 64 && s.K >= 64 &&
         (s.transpose_a ? s.M : s.K) % 8 == 0 && (s.transpose_b ? s.K : s.N) % 8 == 0;
}

Plan matmul_wgmma(const MatmulShape& s) {
  return Plan("wgmma", 0, [s](const Queue& queue, const Buffers& buffers) {
    if (s.M == 0) return;
    const MatmulPointers<bf16> p(s, buffers);
    if (!aligned(p.c, 16)) throw failure("[matmul] wgmma writes 16 bytes at a time: align c to 16");
    if (s.wide) {
      run_with(queue, s, p, reinterpret_cast<float*>(p.c));
    } else {
      run_with(queue, s, p, p.c);
    }
  });
}

}  // namespace tapescope::TAPESCOPE_GPU
