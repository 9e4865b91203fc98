// Element-wise ops. A new one is an entry of a few lines in one of the two tables below.
#include "kernels/elementwise/elementwise.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autograd/ops/fused.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

using Values = OperandSpec::Values;

Var record_unary(Unary function, Var x, double p0 = 0, double p1 = 0);
Var record_binary(Binary function, Var a, Var b, double p0 = 0, double p1 = 0);

// What flows to a broadcast operand is summed back to its shape. Shapes that are equal only
// because the batch holds one sample are summed as well: the Program may run with more.
Var back_to(Var gradient, Var operand) {
  const bool one_by_chance =
      operand.shape().rank() > 0 && operand.shape()[0] == 1 && !operand.node->batched;
  if (gradient.shape() == operand.shape() && !one_by_chance) return gradient;
  return reduce_like(gradient, operand);
}

// --- one operand
// -----------------------------------------------------------------------------------

struct UnaryEntry {
  Unary function;
  RelevanceClass relevance;
  bool nonnegative;
  Values values;  // what the harness feeds it: inside its domain, away from its kinks
  // The cotangent of x given those of y; null where the derivative is zero everywhere.
  Var (*vjp)(Var dy, Var x, Var y, double p0, double p1);
  double p0 = 0, p1 = 0;  // parameters of the harness's sample
};

constexpr auto kMonotone = RelevanceClass::monotone;
constexpr auto kLinear = RelevanceClass::linear;
constexpr auto kStop = RelevanceClass::stop;
constexpr double kTwoOverSqrtPi = 2 * std::numbers::inv_sqrtpi;

const UnaryEntry kUnary[] = {
    {Unary::identity, RelevanceClass::moves, false, Values::normal,
     [](Var dy, Var, Var, double, double) { return dy; }},
    {Unary::relu, kMonotone, true, Values::away_from_zero,
     [](Var dy, Var, Var y, double, double) { return mask_positive(dy, y); }},
    {Unary::negative_part, kMonotone, false, Values::away_from_zero,
     [](Var dy, Var x, Var, double, double) { return sub(dy, mask_positive(dy, x)); }},
    {Unary::leaky_relu, kMonotone, false, Values::away_from_zero,
     [](Var dy, Var x, Var, double p0, double) {
       return record_binary(Binary::leaky_relu_gradient, dy, x, p0);
     },
     0.1},
    {Unary::elu, kMonotone, false, Values::away_from_zero,
     [](Var dy, Var x, Var, double p0, double) {
       return record_binary(Binary::elu_gradient, dy, x, p0);
     },
     1.3},
    {Unary::gelu, kMonotone, false, Values::normal,
     [](Var dy, Var x, Var, double, double) {
       return record_binary(Binary::gelu_gradient, dy, x);
     }},
    {Unary::silu, kMonotone, false, Values::normal,
     [](Var dy, Var x, Var, double, double) {
       return record_binary(Binary::silu_gradient, dy, x);
     }},
    {Unary::sigmoid, kMonotone, true, Values::normal,
     [](Var dy, Var, Var y, double, double) {
       return record_binary(Binary::sigmoid_gradient_from_output, dy, y);
     }},
    {Unary::softplus, kMonotone, true, Values::normal,
     [](Var dy, Var x, Var, double, double) {
       return record_binary(Binary::softplus_gradient, dy, x);
     }},
    {Unary::tanh, kMonotone, false, Values::normal,
     [](Var dy, Var, Var y, double, double) {
       return record_binary(Binary::tanh_gradient_from_output, dy, y);
     }},
    {Unary::erf, kMonotone, false, Values::normal,
     [](Var dy, Var x, Var, double, double) {
       return mul(dy, affine(exp(neg(square(x))), kTwoOverSqrtPi));
     }},
    {Unary::exp, kMonotone, true, Values::normal,
     [](Var dy, Var, Var y, double, double) { return mul(dy, y); }},
    {Unary::log, kMonotone, false, Values::positive,
     [](Var dy, Var x, Var, double, double) { return div(dy, x); }},
    {Unary::sqrt, kMonotone, true, Values::positive,
     [](Var dy, Var, Var y, double, double) { return affine(div(dy, y), 0.5); }},
    {Unary::rsqrt, kMonotone, true, Values::positive,
     [](Var dy, Var x, Var y, double, double) { return affine(div(mul(dy, y), x), -0.5); }},
    {Unary::reciprocal, kMonotone, false, Values::positive,
     [](Var dy, Var, Var y, double, double) { return neg(mul(dy, square(y))); }},
    {Unary::square, kMonotone, true, Values::normal,
     [](Var dy, Var x, Var, double, double) { return affine(mul(dy, x), 2); }},
    {Unary::power, kMonotone, false, Values::positive,
     [](Var dy, Var x, Var, double p0, double) { return affine(mul(dy, pow(x, p0 - 1)), p0); },
     2.5},
    {Unary::neg, kLinear, false, Values::normal,
     [](Var dy, Var, Var, double, double) { return neg(dy); }},
    {Unary::abs, kMonotone, true, Values::away_from_zero,
     [](Var dy, Var x, Var, double, double) { return mul(dy, sign(x)); }},
    {Unary::sign, kStop, false, Values::away_from_zero, nullptr},
    {Unary::step, kStop, true, Values::away_from_zero, nullptr},
    {Unary::inside, kStop, true, Values::away_from_zero, nullptr, -0.1, 0.1},
    {Unary::is_zero, kStop, true, Values::away_from_zero, nullptr},
    {Unary::clamp, kMonotone, false, Values::away_from_zero,
     [](Var dy, Var x, Var, double p0, double p1) {
       return mul(dy, record_unary(Unary::inside, x, p0, p1));
     },
     -0.1, 1.6},
    {Unary::affine, kLinear, false, Values::normal,
     [](Var dy, Var, Var, double p0, double) { return affine(dy, p0); }, -1.5, 0.25},
    {Unary::stabilize, kLinear, false, Values::away_from_zero,
     [](Var dy, Var, Var, double, double) { return dy; }, 0.125},
};
static_assert(std::size(kUnary) == kUnaryFunctions, "an entry for every function");

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
  bool nonnegative() const override { return entry_.nonnegative; }
  bool keeps_signs() const override { return entry_.relevance == RelevanceClass::moves; }
  bool has_constant_part() const override {
    return entry_.function == Unary::affine || entry_.function == Unary::stabilize;
  }
  bool may_overwrite(int, int) const override { return true; }

 private:
  const UnaryEntry& entry_;
  double p0_, p1_;
};

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

// --- two operands
// ----------------------------------------------------------------------------------

struct BinaryEntry {
  Binary function;
  RelevanceClass relevance;  // with both operands active; with one, `add`-like ops are linear
  bool second_fixed;         // the second operand has no derivative: a mask
  Values first, second;
  void (*vjp)(Vjp& v, Var dy, Var a, Var b, double p0, double p1);
  double p0 = 0, p1 = 0;
};

// The gradients of activations f are linear in their first operand, so its cotangent is the same op
// on the incoming one; `second` appends that of the second operand from t = (incoming * first).
template <Binary function>
void gradient_vjp(Vjp& v, Var dy, Var b, double p0, Var (*second)(Var t, Var b, double p0)) {
  if (v.wants(0)) v.give(0, back_to(record_binary(function, dy, b, p0), v.operand(0)));
  if (v.wants(1)) v.give(1, back_to(second(mul(dy, v.operand(0)), b, p0), b));
}

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
    {Binary::safe_divide, RelevanceClass::product, false, Values::normal, Values::positive,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       const auto divide = [](Var x, Var y) { return record_binary(Binary::safe_divide, x, y); };
       if (v.wants(0)) v.give(0, back_to(divide(dy, b), a));
       if (v.wants(1)) v.give(1, neg(back_to(divide(mul(dy, v.output()), b), b)));
     }},
    {Binary::maximum, RelevanceClass::selects, false, Values::distinct, Values::normal,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       const Var second = record_binary(Binary::greater, b, a);  // ties go to a
       if (v.wants(0)) v.give(0, back_to(mul(dy, affine(second, -1, 1)), a));
       if (v.wants(1)) v.give(1, back_to(mul(dy, second), b));
     }},
    {Binary::minimum, RelevanceClass::selects, false, Values::distinct, Values::normal,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       const Var second = record_binary(Binary::greater, a, b);
       if (v.wants(0)) v.give(0, back_to(mul(dy, affine(second, -1, 1)), a));
       if (v.wants(1)) v.give(1, back_to(mul(dy, second), b));
     }},
    {Binary::pow, RelevanceClass::product, false, Values::positive, Values::normal,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       if (v.wants(0)) v.give(0, back_to(mul(dy, div(mul(b, v.output()), a)), a));
       if (v.wants(1)) v.give(1, back_to(mul(dy, mul(v.output(), log(a))), b));
     }},
    {Binary::mask_positive, kLinear, true, Values::normal, Values::away_from_zero,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       v.give(0, back_to(mask_positive(dy, b), a));
     }},
    {Binary::mask_nonzero, kLinear, true, Values::normal, Values::away_from_zero,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       v.give(0, back_to(record_binary(Binary::mask_nonzero, dy, b), a));
     }},
    {Binary::greater, kStop, true, Values::distinct, Values::normal, nullptr},
    {Binary::equal, kStop, true, Values::distinct, Values::normal, nullptr},
    {Binary::weighted_sum, kLinear, false, Values::normal, Values::normal,
     [](Vjp& v, Var dy, Var a, Var b, double p0, double p1) {
       if (v.wants(0)) v.give(0, affine(back_to(dy, a), p0));
       if (v.wants(1)) v.give(1, affine(back_to(dy, b), p1));
     },
     0.75, -2},
    {Binary::binary_cross_entropy, RelevanceClass::product, false, Values::normal, Values::unit,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       if (v.wants(0)) v.give(0, back_to(mul(dy, sub(sigmoid(a), b)), a));
       if (v.wants(1)) v.give(1, neg(back_to(mul(dy, a), b)));
     }},
    {Binary::leaky_relu_gradient, kLinear, true, Values::normal, Values::away_from_zero,
     [](Vjp& v, Var dy, Var a, Var b, double p0, double) {
       v.give(0, back_to(record_binary(Binary::leaky_relu_gradient, dy, b, p0), a));
     },
     0.1},
    {Binary::elu_gradient, RelevanceClass::product, false, Values::normal, Values::away_from_zero,
     [](Vjp& v, Var dy, Var, Var b, double p0, double) {
       gradient_vjp<Binary::elu_gradient>(v, dy, b, p0, [](Var t, Var x, double alpha) {
         const Var slope = record_binary(Binary::elu_gradient, t, x, alpha);
         return sub(slope, mask_positive(t, x));
       });
     },
     1.3},
    {Binary::gelu_gradient, RelevanceClass::product, false, Values::normal, Values::normal,
     [](Vjp& v, Var dy, Var, Var b, double, double) {
       // d/dx (Phi + x phi) = phi (2 - x^2)
       gradient_vjp<Binary::gelu_gradient>(v, dy, b, 0, [](Var t, Var x, double) {
         const Var density =
             affine(exp(affine(square(x), -0.5)), 1 / std::sqrt(2 * std::numbers::pi));
         return mul(t, mul(density, affine(square(x), -1, 2)));
       });
     }},
    {Binary::silu_gradient, RelevanceClass::product, false, Values::normal, Values::normal,
     [](Vjp& v, Var dy, Var, Var b, double, double) {
       // With s = sigmoid(x): d/dx (s + x s (1 - s)) = s (1 - s) (2 + x (1 - 2 s))
       gradient_vjp<Binary::silu_gradient>(v, dy, b, 0, [](Var t, Var x, double) {
         const Var s = sigmoid(x);
         const Var slope = record_binary(Binary::sigmoid_gradient_from_output, t, s);
         return mul(slope, affine(mul(x, affine(s, -2, 1)), 1, 2));
       });
     }},
    {Binary::sigmoid_gradient_from_output, RelevanceClass::product, false, Values::normal,
     Values::unit,
     [](Vjp& v, Var dy, Var, Var b, double, double) {
       gradient_vjp<Binary::sigmoid_gradient_from_output>(
           v, dy, b, 0, [](Var t, Var y, double) { return mul(t, affine(y, -2, 1)); });
     }},
    {Binary::tanh_gradient_from_output, RelevanceClass::product, false, Values::normal,
     Values::unit,
     [](Vjp& v, Var dy, Var, Var b, double, double) {
       gradient_vjp<Binary::tanh_gradient_from_output>(
           v, dy, b, 0, [](Var t, Var y, double) { return affine(mul(t, y), -2); });
     }},
    {Binary::softplus_gradient, RelevanceClass::product, false, Values::normal, Values::normal,
     [](Vjp& v, Var dy, Var, Var b, double, double) {
       gradient_vjp<Binary::softplus_gradient>(v, dy, b, 0, [](Var t, Var x, double) {
         return record_binary(Binary::sigmoid_gradient_from_output, t, sigmoid(x));
       });
     }},
};
static_assert(std::size(kBinary) == kBinaryFunctions, "an entry for every function");

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
    const bool linear = active == 1u || (active == 2u && entry_.function == Binary::mul);
    return entry_.relevance == RelevanceClass::product && linear ? kLinear : entry_.relevance;
  }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 1);
  }
  Footprint footprint() const override { return {}; }
  int weight_operand(unsigned active) const override {
    return entry_.function != Binary::mul ? -1 : active == 1u ? 1 : active == 2u ? 0 : -1;
  }
  bool nonnegative_factors() const override { return entry_.function == Binary::add; }
  // The Program checks that the operand is as large as the output.
  bool may_overwrite(int, int) const override { return true; }

 private:
  const BinaryEntry& entry_;
  double p0_, p1_;
};

OpRef binary_op(Binary function, double p0, double p1) {
  for (const BinaryEntry& entry : kBinary) {
    if (entry.function == function) return std::make_shared<BinaryOp>(entry, p0, p1);
  }
  return nullptr;
}

Var record_binary(Binary function, Var a, Var b, double p0, double p1) {
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

}  // namespace

OpRef unary_op(Unary function, double p0, double p1) {
  for (const UnaryEntry& entry : kUnary) {
    if (entry.function == function) return std::make_shared<UnaryOp>(entry, p0, p1);
  }
  return nullptr;  // the static_assert above rules it out
}

Var add(Var a, Var b) { return record_binary(Binary::add, a, b); }
Var sub(Var a, Var b) { return record_binary(Binary::sub, a, b); }
Var binary_cross_entropy(Var logits, Var targets) {
  return record_binary(Binary::binary_cross_entropy, logits, targets);
}
Var mul(Var a, Var b) { return record_binary(Binary::mul, a, b); }
Var div(Var a, Var b) { return record_binary(Binary::div, a, b); }
Var safe_divide(Var a, Var b) { return record_binary(Binary::safe_divide, a, b); }
Var maximum(Var a, Var b) { return record_binary(Binary::maximum, a, b); }
Var minimum(Var a, Var b) { return record_binary(Binary::minimum, a, b); }
Var mask_positive(Var a, Var b) { return record_binary(Binary::mask_positive, a, b); }
Var mask_nonzero(Var a, Var b) { return record_binary(Binary::mask_nonzero, a, b); }
Var equal(Var a, Var b) { return record_binary(Binary::equal, a, b); }
Var greater(Var a, Var b) { return record_binary(Binary::greater, a, b); }
Var weighted_sum(Var a, double weight_a, Var b, double weight_b) {
  return record_binary(Binary::weighted_sum, a, b, weight_a, weight_b);
}

Var relu(Var x) { return record_unary(Unary::relu, x); }
Var leaky_relu(Var x, double slope) { return record_unary(Unary::leaky_relu, x, slope); }
Var elu(Var x, double alpha) { return record_unary(Unary::elu, x, alpha); }
Var gelu(Var x) { return record_unary(Unary::gelu, x); }
Var silu(Var x) { return record_unary(Unary::silu, x); }
Var sigmoid(Var x) { return record_unary(Unary::sigmoid, x); }
Var tanh(Var x) { return record_unary(Unary::tanh, x); }
Var exp(Var x) { return record_unary(Unary::exp, x); }
Var log(Var x) { return record_unary(Unary::log, x); }
Var sqrt(Var x) { return record_unary(Unary::sqrt, x); }
Var abs(Var x) { return record_unary(Unary::abs, x); }
Var clamp(Var x, double low, double high) { return record_unary(Unary::clamp, x, low, high); }
Var neg(Var x) { return record_unary(Unary::neg, x); }
Var reciprocal(Var x) { return record_unary(Unary::reciprocal, x); }
Var square(Var x) { return record_unary(Unary::square, x); }
Var sign(Var x) { return record_unary(Unary::sign, x); }
Var step_function(Var x) { return record_unary(Unary::step, x); }
Var softplus(Var x) { return record_unary(Unary::softplus, x); }
Var rsqrt(Var x) { return record_unary(Unary::rsqrt, x); }
Var erf(Var x) { return record_unary(Unary::erf, x); }
Var negative_part(Var x) { return record_unary(Unary::negative_part, x); }
Var inside(Var x, double low, double high) { return record_unary(Unary::inside, x, low, high); }
Var is_zero(Var x) { return record_unary(Unary::is_zero, x); }
Var stabilize(Var x, double epsilon) { return record_unary(Unary::stabilize, x, epsilon); }
Var affine(Var x, double scale, double offset) {
  return x && scale == 1 && offset == 0 ? x : record_unary(Unary::affine, x, scale, offset);
}
Var pow(Var x, double exponent) { return record_unary(Unary::power, x, exponent); }

std::vector<Sample> unary_samples() {
  std::vector<Sample> samples;
  for (const UnaryEntry& entry : kUnary) {
    const OpRef op = unary_op(entry.function, entry.p0, entry.p1);
    for (const Shape& shape : {Shape{3, 5}, Shape{3, 1}, Shape{0, 7}, Shape{3, 67}}) {
      samples.push_back({std::string(op->name()), op, {operand(shape, entry.values)}});
    }
  }
  return samples;
}

std::vector<Sample> binary_samples() {
  std::vector<Sample> samples;
  for (const BinaryEntry& entry : kBinary) {
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
  }
  return samples;
}

}  // namespace tapescope
