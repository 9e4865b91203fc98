#include "kernels/more_ops/gather/reference.h"

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"

namespace tapescope::reference {
namespace {

// Throws unless every index names one of C classes.
void check(std::string_view family, const std::int64_t* index, const GatherShape& s) {
  for (std::int64_t n = 0; n < s.N; ++n) {
    if (index[n] < 0 || index[n] >= s.C) {
      throw usage_error(
          "[{}] index {} at position {} is not one of the {} classes 0 to {}; check the labels and "
          "the number of classes",
          family, index[n], n, s.C, s.C - 1);
    }
  }
}

}  // namespace

Plan gather_rows_element(const GatherShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& buffers) {
      const T* x = static_cast<const T*>(buffers.in[0]);                    // {N, C}
      const auto* index = static_cast<const std::int64_t*>(buffers.in[1]);  // {N}
      T* y = static_cast<T*>(buffers.out[0]);                               // {N}
      check("gather_rows_element", index, s);
      for (std::int64_t n = 0; n < s.N; ++n) y[n] = x[n * s.C + index[n]];
    });
  });
}

Plan scatter_rows_element(const GatherShape& s) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& buffers) {
      const T* g = static_cast<const T*>(buffers.in[0]);                    // {N}
      const auto* index = static_cast<const std::int64_t*>(buffers.in[1]);  // {N}
      T* y = static_cast<T*>(buffers.out[0]);                               // {N, C}
      check("scatter_rows_element", index, s);
      const std::int64_t grain = 1 + 32 * 1024 / (s.C + 1);
      parallel_ranges(s.N, grain, [&](std::int64_t begin, std::int64_t end) {
        __builtin_memset(static_cast<void*>(y + begin * s.C), 0,
                         static_cast<std::size_t>((end - begin) * s.C) * sizeof(T));
        for (std::int64_t n = begin; n < end; ++n) y[n * s.C + index[n]] = g[n];
      });
    });
  });
}

}  // namespace tapescope::reference
