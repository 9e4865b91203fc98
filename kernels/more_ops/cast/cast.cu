// Conversion between dtypes on a GPU: one thread per element.
#include "kernels/more_ops/cast/cast.h"

#include "kernels/common/gpu.h"
#include "kernels/more_ops/cast/convert.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

template <class To, class From>
__global__ void cast(const From* x, To* y, std::int64_t n) {  // {n} each
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = convert<To>(x[i]);
}

Plan prepare(const CastShape& s) {
  return with_dtype(s.from, [&](auto from) {
    return with_dtype(s.to, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      return Plan("naive", 0, [n = s.n](const Queue& queue, const Buffers& b) {
        if (n == 0) return;
        constexpr unsigned kThreads = 256;
        launch<cast<To, From>>(queue, blocks_for(n, kThreads), kThreads, 0,
                               static_cast<const From*>(b.in[0]), static_cast<To*>(b.out[0]), n);
      });
    });
  });
}

}  // namespace

Rows<CastShape> cast_variants() {
  static constexpr Variant<CastShape> rows[] = {
      {.name = "naive",
       .dtypes = {DType::f32, DType::bf16, DType::f64, DType::i64, DType::u8},
       .note = "one thread per element",
       .prepare = prepare},
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
