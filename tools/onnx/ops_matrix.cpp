// Gemm and MatMul.
#include <algorithm>

#include "tools/onnx/ops.h"

namespace tapescope::onnx {
namespace {

// {.., M, K} by {.., K, N} with axes in ONNX's order, whose leading extents differ: products
// summed.
Var by_products(Var a, bool a_rows, Var b, bool b_rows) {
  const Shape &x = a.shape(), &y = b.shape();
  const int rank = x.rank();
  if (rank + 1 > Shape::kMaxRank) throw usage_error("a product of values with {} axes", rank);
  std::vector<int> swapped;
  for (int axis = 0; axis < rank; ++axis) swapped.push_back(axis);
  std::swap(swapped[static_cast<std::size_t>(rank - 2)],
            swapped[static_cast<std::size_t>(rank - 1)]);
  std::vector<std::int64_t> rows(x.begin(), x.end()), columns;
  rows.insert(rows.end() - 1, 1);  // {.., M, 1, K}
  b = transpose(b, swapped);       // {.., N, K}
  columns.assign(y.begin(), y.end() - 2);
  columns.insert(columns.end(), {1, y[rank - 1], y[rank - 2]});
  a = shaped(a, Shape(std::span<const std::int64_t>(rows)), a_rows);
  b = shaped(b, Shape(std::span<const std::int64_t>(columns)), b_rows);
  const int last[] = {rank};
  const Var sum = reduce_sum(mul(a, b), last);
  std::vector<std::int64_t> result(sum.shape().begin(), sum.shape().end() - 1);
  return shaped(sum, Shape(std::span<const std::int64_t>(result)), a_rows || b_rows);
}

// A matrix {K, N}, or its transpose, as {N, K} on the tape.
Var matrix_of(const Call& call, int i, bool transposed) {
  return call.arranged(i, transposed ? Layout{0, 1} : Layout{1, 0});
}

}  // namespace

// As a convolution of 1x1, whose shape does not hold the batch size.
Var by_matrix(Var x, Var matrix, bool batched) {
  const Shape shape = x.shape();
  const int last = shape.rank() - 1;
  if (shape.rank() == 2) return linear(x, matrix);
  const Shape image = {shape[0], 1, shape.elements(1, last), shape[last]};
  const std::int64_t out = matrix.shape()[0];
  const Var weights = reshape_all(matrix, {out, 1, 1, shape[last]});
  const Var y = conv2d(shaped(x, image, batched), weights, {}, {});
  Shape result = shape;
  result[last] = out;
  return shaped(y, result, batched);
}

void record_gemm(Call& call) {
  Value a = call.operand(0);
  const bool transposed_a = call.whole("transA", 0) != 0,
             transposed_b = call.whole("transB", 0) != 0;
  const double alpha = call.real("alpha", 1), beta = call.real("beta", 1);
  if (a.rank() != 2 || call.operand(1).rank() != 2)
    throw usage_error("its operands are no matrices");
  if (a.batched && a.batch_axis() != (transposed_a ? 1 : 0)) {
    throw usage_error("it sums over the batch");
  }
  const Var x = call.arranged(0, transposed_a ? Layout{1, 0} : Layout{0, 1});
  const Var matrix = matrix_of(call, 1, transposed_b);
  const bool bias = call.has(2) && alpha == 1 && beta == 1 && call.operand(2).rank() == 1 &&
                    extents_of(call.operand(2))[0] == matrix.shape()[0];
  Var y = linear(x, matrix, bias ? call.arranged(2, {0}, Parameter::Kind::bias) : Var{});
  if (alpha != 1) y = affine(y, alpha);
  a.layout = {0, 1};
  if (call.has(2) && !bias) {
    const Var c = call.arranged(2, {0, 1}, Parameter::Kind::bias);
    y = add(y, beta == 1 ? c : affine(c, beta));
  }
  call.give(y, a);
}

void record_matmul(Call& call) {
  const Value &a = call.operand(0), &b = call.operand(1);
  if (a.rank() < 1 || b.rank() < 1) throw usage_error("a number is no matrix");
  if (b.rank() == 2 && !b.batched && a.rank() >= 2) {
    Value x = call.on_tape(0);
    if (x.batched && x.batch_axis() == x.rank() - 1) throw usage_error("it sums over the batch");
    const Layout layout = last_layout(x, x.rank() - 1);
    x.var = by_matrix(arranged(x, layout), matrix_of(call, 1, false), x.batched);
    x.layout = layout;
    return call.give(x.var, x);
  }
  const int rank = std::max(a.rank(), b.rank());
  if (a.rank() < 2 || b.rank() < 2)
    throw usage_error("a product of {} by {} axes", a.rank(), b.rank());
  Value like = a.known ? call.on_tape(0) : a;
  if (b.batched && !like.batched) {
    like = b;
    if (b.rank() != rank) throw usage_error("its batch axes do not meet");
  }
  const Layout order = plain_layout(rank);
  if ((a.batched && a.batch_axis() != 0) || (b.batched && b.batch_axis() != 0) ||
      (a.batched && a.rank() != rank)) {
    throw usage_error("its batch is not the first axis");
  }
  const Shape x = extents_of(a), z = extents_of(b);
  bool alike = rank > 2 && x.rank() == z.rank() && a.batched == b.batched;
  for (int axis = 0; alike && axis < rank - 2; ++axis) alike = x[axis] == z[axis];
  Var y;
  if (alike) {
    // A matrix that lies transposed is taken as it is.
    Layout swapped = order;
    std::swap(swapped[swapped.size() - 2], swapped[swapped.size() - 1]);
    const bool swap_a = !a.known && a.layout == swapped, swap_b = !b.known && b.layout == swapped;
    y = batched_matmul(call.arranged(0, swap_a ? swapped : order),
                       call.arranged(1, swap_b ? swapped : order), swap_a, swap_b);
  } else {
    y = by_products(call.arranged(0, order), a.batched, call.arranged(1, order), b.batched);
  }
  like.layout = order;
  call.give(y, like);
}

}  // namespace tapescope::onnx
