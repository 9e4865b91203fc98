// Which gather runs where. Plain loops are as fast as memory here, so there is one variant each.
#include "kernels/more_ops/gather/gather.h"
#include "kernels/more_ops/gather/reference.h"

namespace tapescope {
namespace {

constexpr Variant<GatherShape> reference_row(Plan (*prepare)(const GatherShape&)) {
  return {.name = "reference",
          .dtypes = {DType::f32, DType::f64, DType::bf16},
          .note = "one row at a time, indices checked",
          .prepare = prepare};
}

}  // namespace

namespace cpu {

Rows<GatherShape> gather_rows_element_variants() {
  static constexpr Variant<GatherShape> rows[] = {
      reference_row(reference::gather_rows_element),
  };
  return rows;
}

Rows<GatherShape> scatter_rows_element_variants() {
  static constexpr Variant<GatherShape> rows[] = {
      reference_row(reference::scatter_rows_element),
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
