// Which softmax runs where, best first.
#include <algorithm>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/log_softmax/log_softmax.h"
#include "kernels/log_softmax/reference.h"
#include "kernels/log_softmax/simd.h"

namespace tapescope {
namespace {

constexpr VariantInfo reference_info(std::string_view family) {
  return {family,
          "reference",
          DeviceKind::cpu,
          {DType::f32, DType::f64, DType::bf16},
          1,
          "loops as the textbook writes them; the oracle",
          ""};
}

// exp and log of simd_math.h are within 1 ulp, twice what libm promises.
constexpr VariantInfo simd_info(std::string_view family) {
  return {family,
          "simd",
          DeviceKind::cpu,
          {DType::f32},
          2,
          "one row after the other, its elements in vectors; sums end in f64",
          ""};
}

// `member` picks the kernel of the instruction set in use.
template <SoftmaxKernel SoftmaxKernels::*member, int operands>
Plan simd(const SoftmaxShape& s) {
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

}  // namespace

std::span<const Variant<SoftmaxShape>> log_softmax_variants() {
  static constexpr Variant<SoftmaxShape> table[] = {
      {simd_info("log_softmax"), simd<&SoftmaxKernels::log_softmax, 1>},
      {reference_info("log_softmax"), reference::log_softmax},
  };
  return table;
}

std::span<const Variant<SoftmaxShape>> softmax_variants() {
  static constexpr Variant<SoftmaxShape> table[] = {
      {simd_info("softmax"), simd<&SoftmaxKernels::softmax, 1>},
      {reference_info("softmax"), reference::softmax},
  };
  return table;
}

std::span<const Variant<SoftmaxShape>> log_softmax_gradient_variants() {
  static constexpr Variant<SoftmaxShape> table[] = {
      {simd_info("log_softmax_gradient"), simd<&SoftmaxKernels::log_softmax_gradient, 2>},
      {reference_info("log_softmax_gradient"), reference::log_softmax_gradient},
  };
  return table;
}

std::span<const Variant<SoftmaxShape>> softmax_gradient_variants() {
  static constexpr Variant<SoftmaxShape> table[] = {
      {simd_info("softmax_gradient"), simd<&SoftmaxKernels::softmax_gradient, 2>},
      {reference_info("softmax_gradient"), reference::softmax_gradient},
  };
  return table;
}

}  // namespace tapescope
