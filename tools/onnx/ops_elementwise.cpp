// Element-wise ops of several operands. ONNX broadcasts from the last axis on, as NumPy does.
#include <algorithm>
#include <cmath>

#include "tools/onnx/ops.h"

namespace tapescope::onnx {
namespace {

// The operand whose layout the others take: one with the batch before one without, then the
// largest.
int lead_of(const Call& call) {
  int lead = -1;
  const auto weight = [&](int i) {
    const Value& value = call.operand(i);
    if (value.known) return std::int64_t{-1};
    return value.var.type().elements() + (value.batched ? std::int64_t{1} << 60 : 0);
  };
  for (int i = 0; i < call.operands(); ++i) {
    if (lead < 0 || weight(i) > weight(lead)) lead = i;
  }
  return lead;
}

Var binary(const std::string& op, Var a, Var b) {
  if (op == "Add") return add(a, b);
  if (op == "Sub") return sub(a, b);
  if (op == "Mul" || op == "And") return mul(a, b);
  if (op == "Gate") return b.type().elements() <= a.type().elements() ? gate(a, b) : mul(a, b);
  if (op == "Div") return div(a, b);
  if (op == "Pow") return pow(a, b);
  if (op == "Equal") return equal(a, b);
  if (op == "Greater") return greater(a, b);
  if (op == "Less") return greater(b, a);
  if (op == "GreaterOrEqual") return add(greater(a, b), equal(a, b));  // neither holds for NaN
  if (op == "LessOrEqual") return add(greater(b, a), equal(a, b));
  if (op == "Or" || op == "Max") return maximum(a, b);
  if (op == "Min") return minimum(a, b);
  if (op == "Xor") return logical_not(equal(a, b));
  return add(a, b);  // Sum, Mean
}

bool compares(const std::string& op) {
  return op == "Equal" || op.starts_with("Greater") || op.starts_with("Less");
}

// A known exponent that is one number: x^2 and the like, of any sign of x.
bool fixed_power(Call& call) {
  const Value& exponent = call.operand(1);
  if (call.op() != "Pow" || !exponent.known || exponent.known->elements() != 1 ||
      exponent.rank() > call.operand(0).rank()) {
    return false;
  }
  const double y = real_at(*exponent.known, 0);
  const Value x = call.on_tape(0);
  call.give(y == 2 ? square(x.var) : y == 0.5 ? sqrt(x.var) : y == 1 ? x.var : pow(x.var, y), x);
  return true;
}

}  // namespace

std::vector<Var> aligned(const Call& call, Value& like) {
  const int lead = lead_of(call);
  like = call.on_tape(lead);
  int rank = 0;
  for (int i = 0; i < call.operands(); ++i) rank = std::max(rank, call.operand(i).rank());
  like.layout = widened(like.layout, rank, like.batched);
  std::vector<Var> all;
  for (int i = 0; i < call.operands(); ++i) {
    const Value& value = call.operand(i);
    if (value.batched && !like.batched) throw usage_error("its batch axes do not meet");
    all.push_back(call.arranged(i, like.layout));
  }
  return all;
}

void record_binary_op(Call& call) {
  if (fixed_power(call)) return;
  if (call.op() == "Pow" && !is_floating(call.operand(0).type)) return fold_elementwise(call);
  Value like;
  const std::vector<Var> x = aligned(call, like);
  if (x.size() != 2) throw usage_error("it has {} operands; it must have 2", x.size());
  like.type = call.operand(0).type;
  if (call.op() == "Div" && !is_floating(like.type)) {
    throw usage_error("a division of whole numbers that are not known before it runs");
  }
  if (compares(call.op())) like.type = Element::boolean;
  Var y = binary(call.op(), x[0], x[1]);
  if (like.type == Element::boolean && y.dtype() != DType::f32) y = cast(y, DType::f32);
  call.give(y, like);
}

void record_many_op(Call& call) {
  if (call.operands() < 1) throw usage_error("it has no operand");
  Value like;
  const std::vector<Var> x = aligned(call, like);
  Var y = x[0];
  for (std::size_t i = 1; i < x.size(); ++i) y = binary(call.op(), y, x[i]);
  if (call.op() == "Mean") y = affine(y, 1.0 / static_cast<double>(x.size()));
  call.give(y, like);
}

// c ? a : b. What is not chosen may be infinite.
void record_where(Call& call) {
  Value like;
  const std::vector<Var> x = aligned(call, like);
  if (x.size() != 3) throw usage_error("it has {} operands; it must have 3", x.size());
  const Var yes = x[0].dtype() == x[1].dtype() ? x[0] : cast(x[0], x[1].dtype());
  like.type = call.operand(1).type;
  call.give(add(mask_nonzero(x[1], yes), mask_nonzero(x[2], logical_not(yes))), like);
}

void record_cast(Call& call) {
  if (call.operand(0).known) return fold_cast(call);  // like something that is computed
  Value value = call.on_tape(0);
  const Element to =
      call.op() == "CastLike" ? call.operand(1).type : static_cast<Element>(call.whole("to", 0));
  if (to == Element::boolean) {
    if (value.type != Element::boolean) {
      value.var = logical_not(is_zero(value.var));
      if (value.var.dtype() != DType::f32) value.var = cast(value.var, DType::f32);
    }
  } else if (is_floating(to)) {
    const DType wanted = held_in(to, "its output");
    if (value.var.dtype() != wanted) value.var = cast(value.var, wanted);
  } else if (is_floating(value.type)) {
    throw usage_error(
        "it makes numbers of {} of what is computed; only floating numbers and truth values are",
        name_of(to));
  }
  value.type = to;
  call.give(value.var, value);
}

}  // namespace tapescope::onnx
