#include "kernels/increment/increment.h"

namespace tapescope {
namespace {

Plan increment(const IncrementShape& shape) {
  return Plan("reference", 0, [n = shape.n](const Queue&, const Buffers& buffers) {
    const auto* x = static_cast<const std::int64_t*>(buffers.in[0]);
    auto* y = static_cast<std::int64_t*>(buffers.out[0]);
    for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] + 1;
  });
}

}  // namespace

namespace cpu {

Rows<IncrementShape> increment_variants() {
  static constexpr Variant<IncrementShape> rows[] = {
      {.name = "reference", .dtypes = {DType::i64}, .note = "one loop", .prepare = increment},
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
