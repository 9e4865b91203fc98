// Which conversion runs where, best first.
#include "kernels/cast/cast.h"
#include "kernels/cast/reference.h"

namespace tapescope {

std::span<const Variant<CastShape>> cast_variants() {
  static constexpr DTypes kAny{DType::f32, DType::bf16, DType::f64, DType::i64, DType::u8};
  static constexpr Variant<CastShape> table[] = {
      {{"cast", "reference", DeviceKind::cpu, kAny, 1, "any dtype to any, one by one", ""},
       reference::cast},
  };
  return table;
}

}  // namespace tapescope
