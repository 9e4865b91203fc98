#include "kernels/more_ops/upsample/simd_plans.h"

#include <algorithm>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/more_ops/upsample/simd.h"
#include "kernels/more_ops/upsample/tap.h"

namespace tapescope::simd {
namespace {

ResampleTap tap_of(std::int64_t at, std::int64_t in, std::int64_t out) {
  const LinearTap tap = linear_tap(at, in, out);
  return {static_cast<std::int32_t>(tap.low), static_cast<std::int32_t>(tap.high),
          static_cast<float>(tap.high_weight)};
}

// The taps of the columns, made in the workspace before the rows are shared out.
ResampleTap* make_columns(const UpsampleShape& s, void* workspace) {
  auto* columns = static_cast<ResampleTap*>(workspace);  // {Q}
  for (std::int64_t q = 0; q < s.Q; ++q) columns[q] = tap_of(q, s.W, s.Q);
  return columns;
}
std::size_t columns_bytes(const UpsampleShape& s) {
  return static_cast<std::size_t>(s.Q) * sizeof(ResampleTap);
}

const float* in(const Buffers& b) { return static_cast<const float*>(b.in[0]); }
float* out(const Buffers& b) { return static_cast<float*>(b.out[0]); }

// Rows a chunk of parallel work takes.
std::int64_t grain(std::int64_t row_elements) {
  return std::max<std::int64_t>(1, 16 * 1024 / row_elements);
}

}  // namespace

bool supports_upsample(const UpsampleShape& s) {
  constexpr std::int64_t kLimit = std::int64_t{1} << 31;
  const auto fits = [](std::int64_t extent) { return extent > 0 && extent < kLimit; };
  return fits(s.H) && fits(s.W) && fits(s.P) && fits(s.Q) && s.N > 0 && s.C > 0;
}

Plan upsample_bilinear(const UpsampleShape& s) {
  const auto kernel = TAPESCOPE_ISA_TABLE(resample_kernels).bilinear_row;
  return Plan("simd", columns_bytes(s), [s, kernel](const Queue&, const Buffers& b) {
    const float* x = in(b);  // {N, H, W, C}
    float* y = out(b);       // {N, P, Q, C}
    const ResampleTap* columns = make_columns(s, b.workspace);
    parallel_ranges(s.N * s.P, grain(s.Q * s.C), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t np = begin; np < end; ++np) {
        const ResampleTap row = tap_of(np % s.P, s.H, s.P);
        const float* image = x + np / s.P * s.H * s.W * s.C;
        kernel(s.Q, s.C, columns, image + row.low * s.W * s.C, image + row.high * s.W * s.C,
               row.weight, y + np * s.Q * s.C);
      }
    });
  });
}

// Each input row is made by one chunk from the output rows that read it, first to last: no two
// chunks write to one place.
Plan upsample_bilinear_gradient(const UpsampleShape& s) {
  const auto kernel = TAPESCOPE_ISA_TABLE(resample_kernels).bilinear_row_gradient;
  return Plan("simd", columns_bytes(s), [s, kernel](const Queue&, const Buffers& b) {
    const float* dy = in(b);  // {N, P, Q, C}
    float* dx = out(b);       // {N, H, W, C}
    const ResampleTap* columns = make_columns(s, b.workspace);
    const std::int64_t row_elements = s.W * s.C;
    parallel_ranges(s.N * s.H, grain(s.Q * s.C), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t nh = begin; nh < end; ++nh) {
        const std::int64_t n = nh / s.H, h = nh % s.H;
        float* to = dx + nh * row_elements;
        std::fill_n(to, row_elements, 0.0f);
        // Centres grow with p: rows that read h lie where (p + 1/2) H / P - 1/2 is in (h-1, h+1).
        std::int64_t p = std::max<std::int64_t>(0, (2 * h - 1) * s.P / (2 * s.H) - 1);
        for (; p < s.P; ++p) {
          const ResampleTap tap = tap_of(p, s.H, s.P);
          if (tap.low > h) break;
          const float weight =
              (tap.low == h ? 1.0f - tap.weight : 0.0f) + (tap.high == h ? tap.weight : 0.0f);
          if (weight != 0) {
            kernel(s.Q, s.C, columns, dy + (n * s.P + p) * s.Q * s.C, weight, to);
          }
        }
      }
    });
  });
}

Plan upsample_nearest_gradient(const UpsampleShape& s) {
  const auto kernel = TAPESCOPE_ISA_TABLE(resample_kernels).nearest_row_gradient;
  return Plan("simd", 0, [s, kernel](const Queue&, const Buffers& b) {
    const float* dy = in(b);  // {N, P, Q, C}
    float* dx = out(b);       // {N, H, W, C}
    const std::int64_t row_elements = s.W * s.C;
    parallel_ranges(s.N * s.H, grain(s.Q * s.C), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t nh = begin; nh < end; ++nh) {
        const std::int64_t n = nh / s.H, h = nh % s.H;
        float* to = dx + nh * row_elements;
        std::fill_n(to, row_elements, 0.0f);
        // floor(p H / P) = h
        const std::int64_t p0 = (h * s.P + s.H - 1) / s.H, p1 = ((h + 1) * s.P + s.H - 1) / s.H;
        for (std::int64_t p = p0; p < p1; ++p) {
          kernel(s.Q, s.W, s.C, dy + (n * s.P + p) * s.Q * s.C, to);
        }
      }
    });
  });
}

}  // namespace tapescope::simd
