// Which layout kernel runs where, best first.
#include "kernels/layout/layout.h"
#include "kernels/layout/reference.h"

namespace tapescope {
namespace {

constexpr DTypes kAny{DType::f32, DType::bf16, DType::f64, DType::i64, DType::u8};
constexpr DTypes kFloating{DType::f32, DType::f64, DType::bf16};

constexpr VariantInfo reference_info(std::string_view family, DTypes dtypes) {
  return {family, "reference", DeviceKind::cpu, dtypes, 1, "one element at a time; the oracle", ""};
}

}  // namespace

std::span<const Variant<PadShape>> pad_variants() {
  static constexpr Variant<PadShape> table[] = {
      {reference_info("pad", kAny), reference::pad},
  };
  return table;
}

std::span<const Variant<SliceShape>> slice_variants() {
  static constexpr Variant<SliceShape> table[] = {
      {reference_info("slice", kAny), reference::slice},
  };
  return table;
}

std::span<const Variant<ConcatShape>> concat_variants() {
  static constexpr Variant<ConcatShape> table[] = {
      {reference_info("concat", kAny), reference::concat},
  };
  return table;
}

std::span<const Variant<TransposeShape>> transpose_variants() {
  static constexpr Variant<TransposeShape> table[] = {
      {reference_info("transpose", kAny), reference::transpose},
  };
  return table;
}

std::span<const Variant<UpsampleShape>> upsample_nearest_variants() {
  static constexpr Variant<UpsampleShape> table[] = {
      {reference_info("upsample_nearest", kFloating), reference::upsample_nearest},
  };
  return table;
}

std::span<const Variant<UpsampleShape>> upsample_bilinear_variants() {
  static constexpr Variant<UpsampleShape> table[] = {
      {reference_info("upsample_bilinear", kFloating), reference::upsample_bilinear},
  };
  return table;
}

std::span<const Variant<UpsampleShape>> upsample_nearest_gradient_variants() {
  static constexpr Variant<UpsampleShape> table[] = {
      {reference_info("upsample_nearest_gradient", kFloating),
       reference::upsample_nearest_gradient},
  };
  return table;
}

std::span<const Variant<UpsampleShape>> upsample_bilinear_gradient_variants() {
  static constexpr Variant<UpsampleShape> table[] = {
      {reference_info("upsample_bilinear_gradient", kFloating),
       reference::upsample_bilinear_gradient},
  };
  return table;
}

}  // namespace tapescope
