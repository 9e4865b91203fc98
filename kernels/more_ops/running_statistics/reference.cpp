#include "kernels/more_ops/running_statistics/running_statistics.h"

#include <algorithm>

#include "kernels/common/numeric.h"

namespace tapescope {
namespace {

// A net's channels are few: one loop.
template <class T>
Plan of_dtype(const RunningStatisticsShape& s) {
  const T keep = static_cast<T>(1 - s.momentum), take = static_cast<T>(s.momentum);
  return Plan("reference", 0, [norm = s.norms[0], keep, take](const Queue&, const Buffers& b) {
    const auto in = [&](int k) { return static_cast<const T*>(b.in[k]); };
    const auto out = [&](int k) { return static_cast<T*>(b.out[k]); };
    const T n = norm.n_is_read ? *in(5) : static_cast<T>(norm.n);
    const T unbiased = n / std::max(n - T(1), T(1));
    for (std::int64_t c = 0; c < norm.C; ++c) {
      const T old_mean = keep * in(0)[c], old_variance = keep * in(1)[c];
      out(0)[c] = old_mean + take * in(3)[c];
      out(1)[c] = old_variance + take * (in(4)[c] * unbiased);
    }
    *static_cast<std::int64_t*>(b.out[2]) = *static_cast<const std::int64_t*>(b.in[2]) + 1;
  });
}

Plan running_statistics(const RunningStatisticsShape& s) {
  return s.dtype == DType::f64 ? of_dtype<double>(s) : of_dtype<float>(s);
}

}  // namespace

namespace cpu {

Rows<RunningStatisticsShape> running_statistics_variants() {
  static constexpr Variant<RunningStatisticsShape> rows[] = {
      {.name = "reference",
       .dtypes = {DType::f32, DType::f64},
       .note = "one loop over the channels",
       .prepare = running_statistics},
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
