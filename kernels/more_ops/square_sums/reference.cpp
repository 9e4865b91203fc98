#include "kernels/more_ops/square_sums/square_sums.h"

namespace tapescope {
namespace {

template <class T>
Plan in_order(const SumInOrderShape& s) {
  return Plan("reference", 0, [n = s.n](const Queue&, const Buffers& b) {
    const T* x = static_cast<const T*>(b.in[0]);
    T sum = n > 0 ? x[0] : T(0);
    for (std::int64_t i = 1; i < n; ++i) sum += x[i];
    *static_cast<T*>(b.out[0]) = sum;
  });
}

Plan sum_in_order(const SumInOrderShape& s) {
  return s.dtype == DType::f64 ? in_order<double>(s) : in_order<float>(s);
}

}  // namespace

namespace cpu {

Rows<SumInOrderShape> sum_in_order_variants() {
  static constexpr Variant<SumInOrderShape> rows[] = {
      {.name = "reference",
       .dtypes = {DType::f32, DType::f64},
       .note = "one loop",
       .prepare = sum_in_order},
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
