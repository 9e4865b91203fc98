// Reductions, and softmax.
#include <algorithm>

#include "tools/onnx/ops.h"

namespace tapescope::onnx {
namespace {

// The product along one axis, by slices: signs and zeros are right.
Var product(Var x, int axis) {
  const std::int64_t extent = x.shape()[axis];
  if (extent < 1 || extent > 256) throw usage_error("a product of {} elements", extent);
  Var y = slice(x, axis, 0, 1);
  for (std::int64_t i = 1; i < extent; ++i) y = mul(y, slice(x, axis, i, i + 1));
  return y;
}

Var reduce(const std::string& op, Var x, const std::vector<int>& axes) {
  if (op == "ReduceSum") return reduce_sum(x, axes);
  if (op == "ReduceMean") return reduce_mean(x, axes);
  if (op == "ReduceMax") return reduce_max(x, axes);
  if (op == "ReduceMin") return neg(reduce_max(neg(x), axes));
  if (op == "ReduceL1") return reduce_sum(abs(x), axes);
  if (op == "ReduceL2") return sqrt(reduce_sum(square(x), axes));
  if (op == "ReduceSumSquare") return reduce_sum(square(x), axes);
  if (op == "ReduceLogSum") return log(reduce_sum(x, axes));
  if (op == "ReduceLogSumExp") {
    const Var largest = reduce_max(x, axes);
    return add(log(reduce_sum(exp(sub(x, largest)), axes)), largest);
  }
  for (const int axis : axes) x = product(x, axis);  // ReduceProd
  return x;
}

}  // namespace

std::vector<int> reduced_axes(const Call& call, int rank) {
  // They are an operand since set 18, of ReduceSum since 13.
  const bool operand = call.opset() >= (call.op() == "ReduceSum" ? 13 : 18);
  std::vector<std::int64_t> given;
  if (operand && call.has(1)) given = call.wholes_of(1);
  if (!operand) given = call.wholes("axes");
  std::vector<int> axes;
  for (const std::int64_t axis : given) axes.push_back(call.axis_of(axis, rank));
  std::sort(axes.begin(), axes.end());
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  if (axes.empty() && call.whole("noop_with_empty_axes", 0) == 0) axes = plain_layout(rank);
  return axes;
}

namespace {

// Gives x, whose `axes` have been reduced to extents of 1, without them unless they are to stay.
void give_reduced(Call& call, const Value& x, const std::vector<int>& axes) {
  if (call.whole("keepdims", 1) != 0) return call.give(x.var, x);
  const Shape extents = extents_of(x);
  std::vector<std::int64_t> kept;
  int batch = -1;
  for (int a = 0; a < x.rank(); ++a) {
    if (std::find(axes.begin(), axes.end(), a) != axes.end()) continue;
    if (a == x.batch_axis()) batch = static_cast<int>(kept.size());
    kept.push_back(extents[a]);
  }
  const Value y = reshaped(x, Shape(std::span<const std::int64_t>(kept)), batch);
  call.give(y.var, y);
}

}  // namespace

// NaN as ONNX Runtime compares it: never larger than what came before, and never smaller where it
// comes first.
Var comparable(const Call& call, Var v, int axis) {
  Shape shape(std::vector<std::int64_t>(static_cast<std::size_t>(v.shape().rank()), 1));
  shape[axis] = v.shape()[axis];
  auto signs = call.make(Element::f32, shape);
  for (std::int64_t i = 0; i < shape[axis]; ++i) put(*signs, i, i == 0 ? -1.0 : 1.0);
  const Var is_number = equal(v, v);
  const Var instead = mul(log(is_number), call.tape().constant(signs->numbers.to(v.dtype())));
  return add(mask_nonzero(v, is_number), instead);
}

// The place of the largest element: of equals the first, or the last. Places weigh the elements
// that equal the maximum, 1 upwards from the far end, so that the largest weight is the place.
void record_arg_max(Call& call) {
  Value x = call.on_tape(0);
  const int axis = call.axis_of(call.whole("axis", 0), x.rank());
  if (axis == x.batch_axis()) throw usage_error("it compares the rows of the batch");
  const bool last = call.whole("select_last_index", 0) != 0;
  const int place[] = {x.layout[static_cast<std::size_t>(axis)]};
  const std::int64_t extent = extents_of(x)[axis];
  const Var v = comparable(call, call.op() == "ArgMin" ? neg(x.var) : x.var, place[0]);
  Shape shape(std::vector<std::int64_t>(static_cast<std::size_t>(x.rank()), 1));
  shape[place[0]] = extent;
  auto weights = call.make(Element::f32, shape);
  for (std::int64_t i = 0; i < extent; ++i) {
    put(*weights, i, static_cast<double>(last ? i + 1 : extent - i));
  }
  const Var weight = call.tape().constant(weights->numbers.to(v.dtype()));
  const Var largest = reduce_max(mul(equal(v, reduce_max(v, place)), weight), place);
  x.var = last ? affine(largest, 1, -1) : affine(largest, -1, static_cast<double>(extent));
  x.type = Element::i64;
  give_reduced(call, x, {axis});
}

void record_reduce(Call& call) {
  Value x = call.on_tape(0);
  const std::vector<int> axes = reduced_axes(call, x.rank());
  std::vector<int> in_memory;
  for (const int axis : axes) {
    if (axis == x.batch_axis()) throw usage_error("it reduces the batch");
    if (extents_of(x)[axis] == 0 && !call.op().ends_with("Sum") && call.op() != "ReduceL1") {
      throw usage_error("it reduces an axis that has no elements");
    }
    in_memory.push_back(x.layout[static_cast<std::size_t>(axis)]);
  }
  std::sort(in_memory.begin(), in_memory.end());
  if (!axes.empty()) x.var = reduce(call.op(), x.var, in_memory);
  give_reduced(call, x, axes);
}

void record_softmax(Call& call) {
  Value x = call.on_tape(0);
  const bool old = call.opset() < 13;  // over all axes from this one on
  const int axis = call.axis_of(call.whole("axis", old ? 1 : -1), x.rank());
  const auto of = [&](Var logits) {
    return call.op() == "Softmax" ? softmax(logits) : log_softmax(logits);
  };
  const Shape extents = extents_of(x);
  if (!old || axis == x.rank() - 1 || extents.elements(axis + 1, x.rank()) == 1) {
    if (axis == x.batch_axis()) throw usage_error("it is over the batch");
    const Layout layout = last_layout(x, axis);
    x.var = arranged(x, layout);
    x.layout = layout;
    return call.give(of(x.var), x);
  }
  if (x.batched && x.batch_axis() >= axis) throw usage_error("it is over the batch");
  const std::int64_t rows = extents.elements(0, axis);
  const std::int64_t per_row = extents.elements(axis, x.rank());
  const Shape flat = x.batched
                         ? Shape{extents[0], rows / std::max<std::int64_t>(extents[0], 1), per_row}
                         : Shape{rows, per_row};
  Value y = reshaped(x, flat, x.batched ? 0 : -1);
  const Layout layout = last_layout(y, y.rank() - 1);
  y.var = of(arranged(y, layout));
  y.layout = layout;
  const Value back = reshaped(y, extents, x.batch_axis());
  call.give(back.var, back);
}

}  // namespace tapescope::onnx
