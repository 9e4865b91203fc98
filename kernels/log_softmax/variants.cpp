// Which softmax runs where, best first.
#include <algorithm>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/log_softmax/log_softmax.h"
#include "kernels/log_softmax/reference.h"
#include "kernels/log_softmax/simd.h"

namespace tapescope {
namespace {

constexpr Variant<SoftmaxShape> reference_row(Plan (*prepare)(const SoftmaxShape&)) {
  return {.name = "reference",
          .dtypes = {DType::f32, DType::f64, DType::bf16},
          .note = "loops as the textbook writes them; the oracle",
          .prepare = prepare};
}

// exp and log of simd_math.h are within 1 ulp, twice what libm promises.
constexpr Variant<SoftmaxShape> simd_row(Plan (*prepare)(const SoftmaxShape&)) {
  return {.name = "simd",
          .dtypes = {DType::f32},
          .error_factor = 2,
          .note = "one row after the other, its elements in vectors; sums end in f64",
          .prepare = prepare};
}

// `member` picks the kernel of the instruction set in use.
template <SoftmaxKernel SoftmaxKernels::*member, int operands>
Plan by_rows(const SoftmaxShape& s) {
  return Plan(
      "simd", 0,
      [s, kernel = TAPESCOPE_ISA_TABLE(softmax_kernels).*member](const Queue&, const Buffers& b) {
        const float* first = static_cast<const float*>(b.in[0]);
        const float* second = operands > 1 ? static_cast<const float*>(b.in[1]) : first;
        float* y = static_cast<float*>(b.out[0]);
        if (s.C == 0) return;
        const std::int64_t grain = std::max<std::int64_t>(1, 8 * 1024 / s.C);
        parallel_ranges(s.rows, grain, [&](std::int64_t begin, std::int64_t end) {
          const std::int64_t at = begin * s.C;
          kernel(end - begin, s.C, first + at, second + at, y + at);
        });
      });
}

template <Plan (*simd)(const SoftmaxShape&), Plan (*reference)(const SoftmaxShape&)>
Rows<SoftmaxShape> simd_or_reference() {
  static constexpr Variant<SoftmaxShape> rows[] = {simd_row(simd), reference_row(reference)};
  return rows;
}

}  // namespace

namespace cpu {

Rows<SoftmaxShape> log_softmax_variants() {
  return simd_or_reference<by_rows<&SoftmaxKernels::log_softmax, 1>, reference::log_softmax>();
}

Rows<SoftmaxShape> softmax_variants() {
  return simd_or_reference<by_rows<&SoftmaxKernels::softmax, 1>, reference::softmax>();
}

Rows<SoftmaxShape> log_softmax_gradient_variants() {
  return simd_or_reference<by_rows<&SoftmaxKernels::log_softmax_gradient, 2>,
                           reference::log_softmax_gradient>();
}

Rows<SoftmaxShape> softmax_gradient_variants() {
  return simd_or_reference<by_rows<&SoftmaxKernels::softmax_gradient, 2>,
                           reference::softmax_gradient>();
}

}  // namespace cpu

}  // namespace tapescope
