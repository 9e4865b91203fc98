// Which reduction runs where, best first.
#include "kernels/reduce/reduce.h"
#include "kernels/reduce/reference.h"
#include "kernels/reduce/simd_plans.h"

namespace tapescope {
namespace {
constexpr DTypes kReference{DType::f32, DType::f64, DType::bf16};
}  // namespace

namespace cpu {

Rows<ReduceShape> reduce_variants() {
  static constexpr Variant<ReduceShape> rows[] = {
      // At most 256 additions in a lane, 4 fold, and f64 from block to block: below the error of
      // plain
      // summation from about 500 elements on, and never above it by more than the tree that folds.
      {.name = "simd",
       .dtypes = {DType::f32, DType::bf16},
       .note = "blocks of rows down vectors of columns; few columns are first made many",
       .prepare = simd::reduce,
       .supports = simd::supports_reduce},
      {.name = "reference",
       .dtypes = kReference,
       .note = "one loop over the elements of each result, summed in f64; the oracle",
       .prepare = reference::reduce},
  };
  return rows;
}

Rows<BroadcastShape> broadcast_like_variants() {
  static constexpr Variant<BroadcastShape> rows[] = {
      {.name = "simd",
       .dtypes = {DType::f32, DType::bf16},
       .note = "contiguous runs; a repeated row is doubled until it is long, then copied",
       .prepare = simd::broadcast_like,
       .supports = simd::supports_broadcast},
      {.name = "reference",
       .dtypes = kReference,
       .note = "one index computation per element; the oracle",
       .prepare = reference::broadcast_like},
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
