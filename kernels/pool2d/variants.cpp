// Which pooling runs where, best first.
#include "kernels/pool2d/pool2d.h"
#include "kernels/pool2d/reference.h"
#include "kernels/pool2d/simd_plans.h"

namespace tapescope {
namespace {

using Prepare = Plan (*)(const Pool2dShape&);

constexpr Variant<Pool2dShape> simd_variant(std::string_view family, Prepare prepare) {
  return {{family, "simd", DeviceKind::cpu, DTypes{DType::f32}, 1,
           "channels in vector lanes, one image a chunk of work", ""},
          prepare};
}
constexpr Variant<Pool2dShape> reference_variant(std::string_view family, Prepare prepare) {
  return {{family, "reference", DeviceKind::cpu, DTypes{DType::f32, DType::f64, DType::bf16}, 1,
           "window by window; the oracle", ""},
          prepare};
}

}  // namespace

std::span<const Variant<Pool2dShape>> max_pool2d_variants() {
  static constexpr Variant<Pool2dShape> table[] = {
      simd_variant("max_pool2d", simd::max_pool2d),
      reference_variant("max_pool2d", reference::max_pool2d),
  };
  return table;
}

std::span<const Variant<Pool2dShape>> max_pool2d_scatter_variants() {
  static constexpr Variant<Pool2dShape> table[] = {
      simd_variant("max_pool2d_scatter", simd::max_pool2d_scatter),
      reference_variant("max_pool2d_scatter", reference::max_pool2d_scatter),
  };
  return table;
}

std::span<const Variant<Pool2dShape>> max_pool2d_gather_variants() {
  static constexpr Variant<Pool2dShape> table[] = {
      reference_variant("max_pool2d_gather", reference::max_pool2d_gather),
  };
  return table;
}

std::span<const Variant<Pool2dShape>> avg_pool2d_variants() {
  static constexpr Variant<Pool2dShape> table[] = {
      simd_variant("avg_pool2d", simd::avg_pool2d),
      reference_variant("avg_pool2d", reference::avg_pool2d),
  };
  return table;
}

std::span<const Variant<Pool2dShape>> avg_pool2d_gradient_variants() {
  static constexpr Variant<Pool2dShape> table[] = {
      simd_variant("avg_pool2d_gradient", simd::avg_pool2d_gradient),
      reference_variant("avg_pool2d_gradient", reference::avg_pool2d_gradient),
  };
  return table;
}

}  // namespace tapescope
