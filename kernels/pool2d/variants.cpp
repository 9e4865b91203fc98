// Which pooling runs where, best first.
#include "kernels/pool2d/pool2d.h"
#include "kernels/pool2d/reference.h"
#include "kernels/pool2d/simd_plans.h"

namespace tapescope {
namespace {

using Prepare = Plan (*)(const Pool2dShape&);

constexpr Variant<Pool2dShape> simd_row(Prepare prepare) {
  return {.name = "simd",
          .dtypes = {DType::f32, DType::bf16},
          .note = "channels in vector lanes, one image per chunk of work",
          .prepare = prepare};
}
constexpr Variant<Pool2dShape> reference_row(Prepare prepare) {
  return {.name = "reference",
          .dtypes = {DType::f32, DType::f64, DType::bf16},
          .note = "window by window; the oracle",
          .prepare = prepare};
}

template <Plan (*simd)(const Pool2dShape&), Plan (*reference)(const Pool2dShape&)>
Rows<Pool2dShape> simd_or_reference() {
  static constexpr Variant<Pool2dShape> rows[] = {simd_row(simd), reference_row(reference)};
  return rows;
}

}  // namespace

namespace cpu {

Rows<Pool2dShape> max_pool2d_variants() {
  return simd_or_reference<simd::max_pool2d, reference::max_pool2d>();
}

Rows<Pool2dShape> max_pool2d_scatter_variants() {
  return simd_or_reference<simd::max_pool2d_scatter, reference::max_pool2d_scatter>();
}

Rows<Pool2dShape> max_pool2d_gather_variants() {
  static constexpr Variant<Pool2dShape> rows[] = {
      reference_row(reference::max_pool2d_gather),
  };
  return rows;
}

Rows<Pool2dShape> avg_pool2d_variants() {
  return simd_or_reference<simd::avg_pool2d, reference::avg_pool2d>();
}

Rows<Pool2dShape> avg_pool2d_gradient_variants() {
  return simd_or_reference<simd::avg_pool2d_gradient, reference::avg_pool2d_gradient>();
}

}  // namespace cpu

}  // namespace tapescope
