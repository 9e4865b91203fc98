#include "kernels/dropout/reference.h"

#include "engine/philox.h"
#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"

namespace tapescope::reference {

Plan dropout(const DropoutShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    using A = Accumulator<T>;
    return Plan("reference", 0, [s](const Queue&, const Buffers& buffers) {
      const T* x = static_cast<const T*>(buffers.in[0]);  // {rows, row_elements}
      const auto step = *static_cast<const std::int64_t*>(buffers.in[1]);
      const auto* from = static_cast<const std::int64_t*>(buffers.in[2]);
      const std::int64_t first = from != nullptr ? *from : 0;
      T* y = static_cast<T*>(buffers.out[0]);  // {rows, row_elements}
      const PhiloxKey key = philox_key(mix(s.seed_key, static_cast<std::uint64_t>(step)));
      const A scale = static_cast<A>(1 / (1 - s.p));
      parallel_for(s.rows, [&](std::int64_t row) {
        const auto low = static_cast<std::uint32_t>(first + row);
        const auto high = static_cast<std::uint32_t>((first + row) >> 32);
        for (std::int64_t e = 0; e < s.row_elements; ++e) {
          const PhiloxBlock block = philox(key, {low, high, static_cast<std::uint32_t>(e / 4), 0});
          const bool keep = uniform_f32(block[static_cast<std::size_t>(e % 4)]) >= s.p;
          const std::int64_t at = row * s.row_elements + e;
          y[at] = static_cast<T>(keep ? static_cast<A>(x[at]) * scale : A(0));
        }
      });
    });
  });
}

}  // namespace tapescope::reference
