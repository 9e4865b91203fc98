// Which layer normalisation runs where, best first.
#include <algorithm>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/more_ops/cast/widened.h"
#include "kernels/more_ops/layer_norm/layer_norm.h"
#include "kernels/more_ops/layer_norm/reference.h"
#include "kernels/more_ops/layer_norm/simd.h"

namespace tapescope {
namespace {

// Runs f(first row, rows) for runs of rows of some thousand elements.
template <class F>
void by_rows(const LayerNormShape& s, F&& f) {
  if (s.C == 0) return;
  const std::int64_t grain = std::max<std::int64_t>(1, 8 * 1024 / s.C);
  parallel_ranges(s.rows, grain,
                  [&](std::int64_t begin, std::int64_t end) { f(begin, end - begin); });
}

Plan forward(const LayerNormShape& s) {
  const auto kernel = TAPESCOPE_ISA_TABLE(layer_norm_kernels).forward;
  return Plan("simd", 0, [s, kernel](const Queue&, const Buffers& b) {
    by_rows(s, [&](std::int64_t first, std::int64_t rows) {
      const std::int64_t at = first * s.C;
      kernel(rows, s.C, static_cast<float>(s.epsilon), static_cast<const float*>(b.in[0]) + at,
             static_cast<const float*>(b.in[1]), static_cast<const float*>(b.in[2]),
             static_cast<float*>(b.out[0]) + at);
    });
  });
}

Plan gradient(const LayerNormShape& s) {
  const auto kernel = TAPESCOPE_ISA_TABLE(layer_norm_kernels).gradient;
  return Plan("simd", 0, [s, kernel](const Queue&, const Buffers& b) {
    by_rows(s, [&](std::int64_t first, std::int64_t rows) {
      const std::int64_t at = first * s.C;
      kernel(rows, s.C, static_cast<float>(s.epsilon), static_cast<const float*>(b.in[0]) + at,
             static_cast<const float*>(b.in[1]) + at, static_cast<const float*>(b.in[2]),
             static_cast<float*>(b.out[0]) + at);
    });
  });
}

// bf16 is normalised as f32.
Plan forward_or_widened(const LayerNormShape& s) {
  if (s.dtype == DType::f32) return forward(s);
  const std::int64_t n = s.rows * s.C;
  return widened(forward({DType::f32, s.rows, s.C, s.epsilon}), {n, s.C, s.C}, {n});
}
Plan gradient_or_widened(const LayerNormShape& s) {
  if (s.dtype == DType::f32) return gradient(s);
  const std::int64_t n = s.rows * s.C;
  return widened(gradient({DType::f32, s.rows, s.C, s.epsilon}), {n, n, s.C}, {n});
}

constexpr Variant<LayerNormShape> simd_row(Plan (*prepare)(const LayerNormShape&)) {
  return {.name = "simd",
          .dtypes = {DType::f32, DType::bf16},
          .note = "one row after the other, its elements in vectors",
          .prepare = prepare};
}
constexpr Variant<LayerNormShape> reference_row(Plan (*prepare)(const LayerNormShape&)) {
  return {.name = "reference",
          .dtypes = {DType::f32, DType::f64, DType::bf16},
          .note = "loops as the textbook writes them; the oracle",
          .prepare = prepare};
}

}  // namespace

namespace cpu {

Rows<LayerNormShape> layer_norm_variants() {
  static constexpr Variant<LayerNormShape> rows[] = {
      simd_row(forward_or_widened),
      reference_row(reference::layer_norm),
  };
  return rows;
}

Rows<LayerNormShape> layer_norm_gradient_variants() {
  static constexpr Variant<LayerNormShape> rows[] = {
      simd_row(gradient_or_widened),
      reference_row(reference::layer_norm_gradient),
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
