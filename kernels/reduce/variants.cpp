// Which reduction runs where, best first.
#include "kernels/reduce/reduce.h"
#include "kernels/reduce/reference.h"

namespace tapescope {
namespace {
constexpr DTypes kReference{DType::f32, DType::f64, DType::bf16};
}  // namespace

std::span<const Variant<ReduceShape>> reduce_variants() {
  static constexpr Variant<ReduceShape> table[] = {
      {{"reduce", "reference", DeviceKind::cpu, kReference, 1,
        "one loop over the elements of each result, summed in f64; the oracle", ""},
       reference::reduce},
  };
  return table;
}

std::span<const Variant<BroadcastShape>> broadcast_like_variants() {
  static constexpr Variant<BroadcastShape> table[] = {
      {{"broadcast_like", "reference", DeviceKind::cpu, kReference, 1,
        "one index computation an element; the oracle", ""},
       reference::broadcast_like},
  };
  return table;
}

}  // namespace tapescope
