// Element-wise ops. A new one is a line of kernels/elementwise/functions.inc and an entry in one of
// the two tables below, or in those of more_ops/functions.cpp.
#include "autograd/ops/elementwise.h"

#include <algorithm>

#include "autograd/ops/fused.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

using Values = OperandSpec::Values;

// --- one operand
const UnaryEntry kUnary[] = {
    {Unary::relu, kMonotone, true, Values::away_from_zero,
     [](Var dy, Var, Var y, double, double) { return mask_positive(dy, y); }},
    {Unary::sigmoid, kMonotone, true, Values::normal,
     [](Var dy, Var, Var y, double, double) { return sigmoid_gradient_from_output(dy, y); }},
    {Unary::sqrt, kMonotone, true, Values::positive,
     [](Var dy, Var, Var y, double, double) { return affine(div(dy, y), 0.5); }},
    {Unary::square, kMonotone, true, Values::normal,
     [](Var dy, Var x, Var, double, double) { return affine(mul(dy, x), 2); }},
    {Unary::neg, kLinear, false, Values::normal,
     [](Var dy, Var, Var, double, double) { return neg(dy); }},
    {Unary::affine, kLinear, false, Values::normal,
     [](Var dy, Var, Var, double p0, double) { return affine(dy, p0); }, -1.5, 0.25},
};
static_assert(std::size(kUnary) == kFirstUnary);

class UnaryOp final : public Op {
 public:
  UnaryOp(const UnaryEntry& entry, double p0, double p1) : entry_(entry), p0_(p0), p1_(p1) {}
  std::string_view name() const override { return name_of(entry_.function); }
  void attributes(AttributeVisitor& v) const override {
    if (p0_ != 0) v.visit("p0", p0_);
    if (p1_ != 0) v.visit("p1", p1_);
  }
  Types infer(std::span<const Type> t) const override {
    if (!is_floating(t[0].dtype)) {
      throw usage_error("[{}] the operand is {}; cast it to a floating dtype first", name(),
                        to_string(t[0]));
    }
    return {t[0]};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    const UnaryShape shape{t[0].dtype, entry_.function, t[0].elements(), p0_, p1_};
    return prepare_from(unary_variants(), shape, shape.dtype, backend);
  }
  void vjp(Vjp& v) const override {
    if (entry_.vjp != nullptr) {
      v.give(0, entry_.vjp(v.cotangent(), v.operand(0), v.output(), p0_, p1_));
    }
  }
  Role role(int) const override { return entry_.vjp != nullptr ? Role::signal : Role::fixed; }
  RelevanceClass relevance_class(unsigned) const override { return entry_.relevance; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 1);
  }
  Footprint footprint() const override { return {}; }
  bool nonnegative() const override {
    return entry_.nonnegative || (entry_.function == Unary::clamp && p0_ >= 0);
  }
  bool keeps_signs() const override { return entry_.relevance == RelevanceClass::moves; }
  bool has_constant_part() const override {
    return entry_.function == Unary::affine || entry_.function == Unary::stabilize;
  }
  bool may_overwrite(int, int) const override { return true; }

 private:
  const UnaryEntry& entry_;
  double p0_, p1_;
};

// --- two operands
const BinaryEntry kBinary[] = {
    {Binary::add, kLinear, false, Values::normal, Values::normal,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       if (v.wants(0)) v.give(0, back_to(dy, a));
       if (v.wants(1)) v.give(1, back_to(dy, b));
     }},
    {Binary::sub, kLinear, false, Values::normal, Values::normal,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       if (v.wants(0)) v.give(0, back_to(dy, a));
       if (v.wants(1)) v.give(1, neg(back_to(dy, b)));
     }},
    {Binary::mul, RelevanceClass::product, false, Values::normal, Values::normal,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       if (v.wants(0)) v.give(0, back_to(mul(dy, b), a));
       if (v.wants(1)) v.give(1, back_to(mul(dy, a), b));
     }},
    {Binary::div, RelevanceClass::product, false, Values::normal, Values::positive,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       if (v.wants(0)) v.give(0, back_to(div(dy, b), a));
       if (v.wants(1)) v.give(1, neg(back_to(div(mul(dy, v.output()), b), b)));
     }},
    {Binary::maximum, RelevanceClass::selects, false, Values::distinct, Values::normal,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       const Var second = greater(b, a);  // ties go to a
       if (v.wants(0)) v.give(0, back_to(mul(dy, affine(second, -1, 1)), a));
       if (v.wants(1)) v.give(1, back_to(mul(dy, second), b));
     }},
    {Binary::minimum, RelevanceClass::selects, false, Values::distinct, Values::normal,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       const Var second = greater(a, b);
       if (v.wants(0)) v.give(0, back_to(mul(dy, affine(second, -1, 1)), a));
       if (v.wants(1)) v.give(1, back_to(mul(dy, second), b));
     }},
    {Binary::mask_positive, kLinear, true, Values::normal, Values::away_from_zero,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       v.give(0, back_to(mask_positive(dy, b), a));
     }},
    {Binary::greater, kStop, true, Values::distinct, Values::normal, nullptr},
    {Binary::equal, kStop, true, Values::distinct, Values::normal, nullptr},
    {Binary::sigmoid_gradient_from_output, RelevanceClass::product, false, Values::normal,
     Values::unit,
     [](Vjp& v, Var dy, Var, Var b, double, double) {
       gradient_vjp<Binary::sigmoid_gradient_from_output>(
           v, dy, b, 0, [](Var t, Var y, double) { return mul(t, affine(y, -2, 1)); });
     }},
};
static_assert(std::size(kBinary) == kFirstBinary);

class BinaryOp final : public Op {
 public:
  BinaryOp(const BinaryEntry& entry, double p0, double p1) : entry_(entry), p0_(p0), p1_(p1) {}
  std::string_view name() const override { return name_of(entry_.function); }
  void attributes(AttributeVisitor& v) const override {
    if (p0_ != 0) v.visit("p0", p0_);
    if (p1_ != 0) v.visit("p1", p1_);
  }
  Types infer(std::span<const Type> t) const override {
    if (t.size() != 2 || t[0].dtype != t[1].dtype || !is_floating(t[0].dtype)) {
      throw usage_error("[{}] both operands must have one floating dtype, not {} and {}", name(),
                        to_string(t[0]), t.size() > 1 ? to_string(t[1]) : "nothing");
    }
    const Shape &a = t[0].shape, &b = t[1].shape;
    for (int back = 1; back <= std::min(a.rank(), b.rank()); ++back) {
      const std::int64_t in_a = a[a.rank() - back], in_b = b[b.rank() - back];
      if (in_a == in_b || in_a == 1 || in_b == 1) continue;
      throw usage_error(
          "[{}] shapes {} and {} do not broadcast: counted from the last, axis {} has extents {} "
          "and {}; they must be equal or one of them 1",
          name(), to_string(a), to_string(b), back, in_a, in_b);
    }
    return {{t[0].dtype, broadcast_shape(a, b)}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    const BinaryShape shape{t[0].dtype, entry_.function, t[0].shape, t[1].shape, p0_, p1_};
    return prepare_from(binary_variants(), shape, shape.dtype, backend);
  }
  void vjp(Vjp& v) const override {
    if (entry_.vjp != nullptr) {
      entry_.vjp(v, v.cotangent(), v.operand(0), v.operand(1), p0_, p1_);
    }
  }
  Role role(int operand) const override {
    if (entry_.vjp == nullptr) return Role::fixed;
    return operand == 1 && entry_.second_fixed ? Role::fixed : Role::signal;
  }
  RelevanceClass relevance_class(unsigned active) const override {
    // With one operand active a product is linear, a quotient only in its first.
    const bool linear = active == 1u || (active == 2u && is_product());
    return entry_.relevance == RelevanceClass::product && linear ? kLinear : entry_.relevance;
  }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 1);
  }
  Footprint footprint() const override { return {}; }
  int weight_operand(unsigned active) const override {
    return !is_product() ? -1 : active == 1u ? 1 : active == 2u ? 0 : -1;
  }
  bool nonnegative_factors() const override { return entry_.function == Binary::add; }
  // The Program checks that the operand is as large as the output.
  bool may_overwrite(int, int) const override { return true; }

 private:
  bool is_product() const {
    return entry_.function == Binary::mul || entry_.function == Binary::gate;
  }
  const BinaryEntry& entry_;
  double p0_, p1_;
};

// f(entry) of every function.
template <class F>
void for_each_unary(F&& f) {
  for (const UnaryEntry& entry : kUnary) f(entry);
  for (const UnaryEntry& entry : more_unary) f(entry);
}
template <class F>
void for_each_binary(F&& f) {
  for (const BinaryEntry& entry : kBinary) f(entry);
  for (const BinaryEntry& entry : more_binary) f(entry);
}

OpRef binary_op(Binary function, double p0, double p1) {
  OpRef op;
  for_each_binary([&](const BinaryEntry& entry) {
    if (entry.function == function) op = std::make_shared<BinaryOp>(entry, p0, p1);
  });
  return op;
}

}  // namespace

OpRef unary_op(Unary function, double p0, double p1) {
  OpRef op;
  for_each_unary([&](const UnaryEntry& entry) {
    if (entry.function == function) op = std::make_shared<UnaryOp>(entry, p0, p1);
  });
  return op;
}

// Ops without parameters are made once.
Var record_unary(Unary function, Var x, double p0, double p1) {
  if (p0 != 0 || p1 != 0) return record(unary_op(function, p0, p1), {x}).out();
  static const std::vector<OpRef> ops = [] {
    std::vector<OpRef> all;
    for (int f = 0; f < kUnaryFunctions; ++f) all.push_back(unary_op(static_cast<Unary>(f), 0, 0));
    return all;
  }();
  return record(ops[static_cast<std::size_t>(function)], {x}).out();
}

Var record_binary(Binary function, Var a, Var b, double p0, double p1) {
  meet(a, b);
  if (p0 != 0 || p1 != 0) return record(binary_op(function, p0, p1), {a, b}).out();
  static const std::vector<OpRef> ops = [] {
    std::vector<OpRef> all;
    for (int f = 0; f < kBinaryFunctions; ++f) {
      all.push_back(binary_op(static_cast<Binary>(f), 0, 0));
    }
    return all;
  }();
  return record(ops[static_cast<std::size_t>(function)], {a, b}).out();
}

Var back_to(Var gradient, Var operand) {  // autograd/README.md, "What a batch is"
  const bool one_by_chance =
      operand.shape().rank() > 0 && operand.shape()[0] == 1 && !operand.node->batched;
  if (gradient.shape() == operand.shape() && !one_by_chance) return gradient;
  return reduce_like(gradient, operand);
}

#define TAPESCOPE_UNARY(name, ...) \
  Var name(Var x) { return record_unary(Unary::name, x); }
#define TAPESCOPE_BINARY(name, ...) \
  Var name(Var a, Var b) { return record_binary(Binary::name, a, b); }
#define TAPESCOPE_UNARY_WITH(name, ...)
#define TAPESCOPE_UNARY_SLOW(name, ...)
#define TAPESCOPE_BINARY_WITH(name, ...)
#define TAPESCOPE_BINARY_SLOW(name, ...)
#include "kernels/elementwise/functions.inc"
Var affine(Var x, double scale, double offset) {
  return x && scale == 1 && offset == 0 ? x : record_unary(Unary::affine, x, scale, offset);
}

std::vector<Sample> unary_samples() {
  std::vector<Sample> samples;
  for_each_unary([&](const UnaryEntry& entry) {
    const OpRef op = unary_op(entry.function, entry.p0, entry.p1);
    for (const Shape& shape : {Shape{3, 5}, Shape{3, 1}, Shape{0, 7}, Shape{3, 67}}) {
      samples.push_back({std::string(op->name()), op, {operand(shape, entry.values)}});
    }
  });
  return samples;
}

std::vector<Sample> binary_samples() {
  std::vector<Sample> samples;
  for_each_binary([&](const BinaryEntry& entry) {
    const OpRef op = binary_op(entry.function, entry.p0, entry.p1);
    const auto add_sample = [&](OperandSpec a, OperandSpec b) {
      a.values = entry.first, b.values = entry.second;
      samples.push_back({std::string(op->name()), op, {a, b}});
    };
    add_sample(normal({3, 5}), normal({3, 5}));
    add_sample(normal({3, 67}), normal({3, 67}));
    add_sample(normal({0, 4}), normal({0, 4}));
    add_sample(normal({3, 2, 5}), fixed_extent(normal({5})));  // like a bias
    add_sample(normal({3, 4}), fixed_extent(normal({})));      // a scalar
    add_sample(fixed_extent(normal({1, 4})), normal({3, 4}));  // the first one is repeated
    add_sample(normal({3, 2, 1, 5}), normal({3, 1, 4, 5}));    // both are
  });
  return samples;
}

}  // namespace tapescope
