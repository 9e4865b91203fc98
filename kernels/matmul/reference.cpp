#include "kernels/matmul/reference.h"

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"

namespace tapescope::reference {

Plan matmul(const MatmulShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    using A = Accumulator<T>;
    return Plan("reference", 0, [s](const Queue&, const Buffers& buffers) {
      const auto* a = static_cast<const T*>(buffers.in[0]);
      const auto* b = static_cast<const T*>(buffers.in[1]);
      const auto* bias = s.bias ? static_cast<const A*>(buffers.in[2]) : nullptr;
      const std::int64_t a_row = s.transpose_a ? 1 : s.K, a_k = s.transpose_a ? s.M : 1;
      const std::int64_t b_k = s.transpose_b ? 1 : s.N, b_column = s.transpose_b ? s.K : 1;
      parallel_for(s.M, [&](std::int64_t m) {
        for (std::int64_t n = 0; n < s.N; ++n) {
          A sum = bias != nullptr ? bias[n] : A(0);
          for (std::int64_t k = 0; k < s.K; ++k) {
            sum +=
                static_cast<A>(a[m * a_row + k * a_k]) * static_cast<A>(b[k * b_k + n * b_column]);
          }
          store<T>(buffers.out[0], m * s.N + n, sum, s.wide);
        }
      });
    });
  });
}

}  // namespace tapescope::reference
