// Which layout kernel runs where, best first.
#include "kernels/layout/layout.h"
#include "kernels/layout/reference.h"
#include "kernels/layout/runs.h"

namespace tapescope {
namespace {

constexpr DTypes kAny{DType::f32, DType::bf16, DType::f64, DType::i64, DType::u8};

template <class Shape>
constexpr Variant<Shape> reference_row(DTypes dtypes, Plan (*prepare)(const Shape&)) {
  return {.name = "reference",
          .dtypes = dtypes,
          .note = "one element at a time; the oracle",
          .prepare = prepare};
}

template <class Shape>
constexpr Variant<Shape> runs_row(
    DTypes dtypes, Plan (*prepare)(const Shape&),
    std::string_view note = "copies the longest pieces that lie together on both sides") {
  return {.name = "runs", .dtypes = dtypes, .note = note, .prepare = prepare};
}

}  // namespace

namespace cpu {

Rows<PadShape> pad_variants() {
  static constexpr Variant<PadShape> rows[] = {
      runs_row(kAny, runs::pad),
      reference_row(kAny, reference::pad),
  };
  return rows;
}

Rows<SliceShape> slice_variants() {
  static constexpr Variant<SliceShape> rows[] = {
      runs_row(kAny, runs::slice),
      reference_row(kAny, reference::slice),
  };
  return rows;
}

Rows<ConcatShape> concat_variants() {
  static constexpr Variant<ConcatShape> rows[] = {
      runs_row(kAny, runs::concat),
      reference_row(kAny, reference::concat),
  };
  return rows;
}

Rows<TransposeShape> transpose_variants() {
  static constexpr Variant<TransposeShape> rows[] = {
      runs_row(kAny, runs::transpose,
               "runs where the last axis stays, else tiles that stay in the L1 cache"),
      reference_row(kAny, reference::transpose),
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
