// Which layout kernel runs where, best first.
#include "kernels/layout/layout.h"
#include "kernels/layout/reference.h"
#include "kernels/layout/runs.h"
#include "kernels/layout/simd_plans.h"

namespace tapescope {
namespace {

constexpr DTypes kAny{DType::f32, DType::bf16, DType::f64, DType::i64, DType::u8};
constexpr DTypes kFloating{DType::f32, DType::f64, DType::bf16};

constexpr VariantInfo reference_info(std::string_view family, DTypes dtypes) {
  return {family, "reference", DeviceKind::cpu, dtypes, 1, "one element at a time; the oracle", ""};
}

constexpr VariantInfo runs_info(std::string_view family, DTypes dtypes, std::string_view note) {
  return {family, "runs", DeviceKind::cpu, dtypes, 1, note, ""};
}
constexpr std::string_view kRunsNote = "copies the longest pieces that lie together on both sides";

constexpr VariantInfo simd_info(std::string_view family) {
  return {family,
          "simd",
          DeviceKind::cpu,
          {DType::f32},
          2,
          "a row at a time, channels in vectors; weights rounded to f32",
          ""};
}

}  // namespace

std::span<const Variant<PadShape>> pad_variants() {
  static constexpr Variant<PadShape> table[] = {
      {runs_info("pad", kAny, kRunsNote), runs::pad},
      {reference_info("pad", kAny), reference::pad},
  };
  return table;
}

std::span<const Variant<SliceShape>> slice_variants() {
  static constexpr Variant<SliceShape> table[] = {
      {runs_info("slice", kAny, kRunsNote), runs::slice},
      {reference_info("slice", kAny), reference::slice},
  };
  return table;
}

std::span<const Variant<ConcatShape>> concat_variants() {
  static constexpr Variant<ConcatShape> table[] = {
      {runs_info("concat", kAny, kRunsNote), runs::concat},
      {reference_info("concat", kAny), reference::concat},
  };
  return table;
}

std::span<const Variant<TransposeShape>> transpose_variants() {
  static constexpr Variant<TransposeShape> table[] = {
      {runs_info("transpose", kAny,
                 "runs where the last axis stays, else tiles that stay in the L1 cache"),
       runs::transpose},
      {reference_info("transpose", kAny), reference::transpose},
  };
  return table;
}

std::span<const Variant<UpsampleShape>> upsample_nearest_variants() {
  static constexpr Variant<UpsampleShape> table[] = {
      {runs_info("upsample_nearest", kFloating, "pixels once a row, further rows copied"),
       runs::upsample_nearest},
      {reference_info("upsample_nearest", kFloating), reference::upsample_nearest},
  };
  return table;
}

std::span<const Variant<UpsampleShape>> upsample_bilinear_variants() {
  static constexpr Variant<UpsampleShape> table[] = {
      {simd_info("upsample_bilinear"), simd::upsample_bilinear, simd::supports_upsample},
      {reference_info("upsample_bilinear", kFloating), reference::upsample_bilinear},
  };
  return table;
}

std::span<const Variant<UpsampleShape>> upsample_nearest_gradient_variants() {
  static constexpr Variant<UpsampleShape> table[] = {
      {simd_info("upsample_nearest_gradient"), simd::upsample_nearest_gradient,
       simd::supports_upsample},
      {reference_info("upsample_nearest_gradient", kFloating),
       reference::upsample_nearest_gradient},
  };
  return table;
}

std::span<const Variant<UpsampleShape>> upsample_bilinear_gradient_variants() {
  static constexpr Variant<UpsampleShape> table[] = {
      {simd_info("upsample_bilinear_gradient"), simd::upsample_bilinear_gradient,
       simd::supports_upsample},
      {reference_info("upsample_bilinear_gradient", kFloating),
       reference::upsample_bilinear_gradient},
  };
  return table;
}

}  // namespace tapescope
