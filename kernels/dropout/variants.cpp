// Which dropout runs where, best first.
#include <memory>

#include "kernels/dropout/dropout.h"
#include "kernels/dropout/reference.h"
#include "kernels/dropout/simd_plan.h"
#include "kernels/elementwise/reference.h"
#include "kernels/elementwise/simd_plans.h"
#include "kernels/more_ops/cast/widened.h"

namespace tapescope {
namespace {

// relu into y, then dropout of y in place.
template <Plan (*prepare_relu)(const UnaryShape&), Plan (*prepare_drop)(const DropoutShape&)>
Plan one_after_the_other(const DropoutShape& s) {
  const UnaryShape unary{s.dtype, Unary::relu, s.rows * s.row_elements, 0, 0};
  struct Both {
    Plan relu, drop;
  };
  auto both = std::make_unique<Both>(Both{prepare_relu(unary), prepare_drop(s)});
  const std::string_view name = both->drop.variant();
  return Plan(name, 0, [both = std::move(both)](const Queue& queue, const Buffers& b) {
    both->relu.run(queue, {b.in, b.out, nullptr});
    const void* inputs[] = {b.out[0], b.in[1], b.in[2]};
    both->drop.run(queue, {inputs, b.out, nullptr});
  });
}

// bf16 is dropped as f32.
template <Plan (*f32)(const DropoutShape&)>
Plan widening(const DropoutShape& s) {
  if (s.dtype == DType::f32) return f32(s);
  DropoutShape wide = s;
  wide.dtype = DType::f32;
  const std::int64_t n = s.rows * s.row_elements;
  return widened(f32(wide), {n, kAsItIs, kAsItIs}, {n});
}

constexpr DTypes kReference{DType::f32, DType::f64, DType::bf16};

}  // namespace

namespace cpu {

Rows<DropoutShape> dropout_variants() {
  static constexpr Variant<DropoutShape> rows[] = {
      {.name = "simd",
       .dtypes = {DType::f32, DType::bf16},
       .note = "sixteen Philox blocks side by side in vectors; the same bits",
       .prepare = widening<simd::dropout>},
      {.name = "reference",
       .dtypes = kReference,
       .note = "one Philox block per element; the oracle",
       .prepare = reference::dropout},
  };
  return rows;
}

Rows<DropoutShape> relu_dropout_variants() {
  static constexpr Variant<DropoutShape> rows[] = {
      {.name = "simd",
       .dtypes = {DType::f32, DType::bf16},
       .note = "relu, then dropout in place",
       .prepare = widening<one_after_the_other<simd::unary, simd::dropout>>},
      {.name = "reference",
       .dtypes = kReference,
       .note = "relu, then dropout in place; the oracle",
       .prepare = one_after_the_other<reference::unary, reference::dropout>},
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
