#include "kernels/dropout/simd_plan.h"

#include <algorithm>
#include <cmath>

#include "engine/isa.h"
#include "engine/philox.h"
#include "engine/thread_pool.h"
#include "kernels/dropout/simd.h"

namespace tapescope::simd {
namespace {
constexpr std::int64_t kGrain = 16 * 1024;  // elements per chunk of parallel work, a multiple of 4
}

Plan dropout(const DropoutShape& s) {
  const auto kernel = TAPESCOPE_ISA_TABLE(dropout_kernels).run;
  return Plan("simd", 0, [s, kernel](const Queue&, const Buffers& buffers) {
    const float* x = static_cast<const float*>(buffers.in[0]);  // {rows, row_elements}
    const auto step = *static_cast<const std::int64_t*>(buffers.in[1]);
    float* y = static_cast<float*>(buffers.out[0]);  // {rows, row_elements}
    const PhiloxKey key = philox_key(mix(s.seed_key, static_cast<std::uint64_t>(step)));
    // u >= p, u = k / 2^24, is k >= p * 2^24 without rounding.
    const auto threshold = static_cast<std::uint32_t>(std::ceil(s.p * 16777216.0));
    const DropoutRow common{key[0], key[1], 0, threshold, static_cast<float>(1 / (1 - s.p))};
    const auto* from = static_cast<const std::int64_t*>(buffers.in[2]);
    const std::int64_t elements = s.row_elements, first = from != nullptr ? *from : 0;
    if (elements == 0) return;
    const auto piece = [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
      DropoutRow own = common;
      own.row = static_cast<std::uint64_t>(first + row);
      const std::int64_t at = row * elements + begin;
      kernel(own, begin, end - begin, x + at, y + at);
    };
    const std::int64_t pieces = (elements + kGrain - 1) / kGrain;
    parallel_ranges(s.rows * pieces, std::max<std::int64_t>(1, kGrain / elements),
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t k = begin; k < end; ++k) {
                        const std::int64_t begins = k % pieces * kGrain;
                        piece(k / pieces, begins, std::min(elements, begins + kGrain));
                      }
                    });
  });
}

}  // namespace tapescope::simd
