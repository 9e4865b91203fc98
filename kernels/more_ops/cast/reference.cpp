#include "kernels/more_ops/cast/reference.h"

#include "engine/thread_pool.h"
#include "kernels/more_ops/cast/convert.h"

namespace tapescope::reference {

Plan cast(const CastShape& s) {
  return with_dtype(s.from, [&](auto from) {
    return with_dtype(s.to, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      return Plan("reference", 0, [n = s.n](const Queue&, const Buffers& buffers) {
        const From* x = static_cast<const From*>(buffers.in[0]);  // {n}
        To* y = static_cast<To*>(buffers.out[0]);                 // {n}
        parallel_ranges(n, 32 * 1024, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) y[i] = convert<To>(x[i]);
        });
      });
    });
  });
}

}  // namespace tapescope::reference
