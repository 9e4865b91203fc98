// Which reduction runs where, best first.
#include "kernels/reduce/reduce.h"
#include "kernels/reduce/reference.h"
#include "kernels/reduce/simd_plans.h"

namespace tapescope {
namespace {
constexpr DTypes kReference{DType::f32, DType::f64, DType::bf16};
}  // namespace

std::span<const Variant<ReduceShape>> reduce_variants() {
  static constexpr Variant<ReduceShape> table[] = {
      // At most 256 additions in a lane, 4 fold, and f64 from block to block: below the error of
      // plain
      // summation from about 500 elements on, and never above it by more than the tree that folds.
      {{"reduce",
        "simd",
        DeviceKind::cpu,
        {DType::f32},
        1,
        "blocks of rows down vectors of columns; few columns are first made many",
        ""},
       simd::reduce,
       simd::supports_reduce},
      {{"reduce", "reference", DeviceKind::cpu, kReference, 1,
        "one loop over the elements of each result, summed in f64; the oracle", ""},
       reference::reduce},
  };
  return table;
}

std::span<const Variant<BroadcastShape>> broadcast_like_variants() {
  static constexpr Variant<BroadcastShape> table[] = {
      {{"broadcast_like",
        "simd",
        DeviceKind::cpu,
        {DType::f32},
        1,
        "contiguous runs; a repeated row is doubled until it is long, then copied",
        ""},
       simd::broadcast_like,
       simd::supports_broadcast},
      {{"broadcast_like", "reference", DeviceKind::cpu, kReference, 1,
        "one index computation an element; the oracle", ""},
       reference::broadcast_like},
  };
  return table;
}

}  // namespace tapescope
