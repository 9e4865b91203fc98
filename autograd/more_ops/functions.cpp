// Element-wise ops beyond those of ops/elementwise.cpp: entries of the same two tables.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "autograd/ops/elementwise.h"

namespace tapescope {
namespace {

using Values = OperandSpec::Values;
constexpr double kTwoOverSqrtPi = 2 * std::numbers::inv_sqrtpi;

}  // namespace

const UnaryEntry more_unary[] = {
    {Unary::identity, RelevanceClass::moves, false, Values::normal,
     [](Var dy, Var, Var, double, double) { return dy; }},
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
     [](Var dy, Var x, Var, double, double) { return gelu_gradient(dy, x); }},
    {Unary::silu, kMonotone, false, Values::normal,
     [](Var dy, Var x, Var, double, double) { return silu_gradient(dy, x); }},
    {Unary::softplus, kMonotone, true, Values::normal,
     [](Var dy, Var x, Var, double, double) { return softplus_gradient(dy, x); }},
    {Unary::hard_sigmoid, kMonotone, true, Values::normal,
     [](Var dy, Var x, Var, double p0, double p1) {
       const double at0 = -p1 / p0, at1 = (1 - p1) / p0;
       return affine(mul(dy, inside(x, std::min(at0, at1), std::max(at0, at1))), p0);
     },
     0.2, 0.5},
    {Unary::hard_swish, kMonotone, false, Values::normal,
     [](Var dy, Var x, Var, double, double) { return hard_swish_gradient(dy, x); }},
    {Unary::tanh, kMonotone, false, Values::normal,
     [](Var dy, Var, Var y, double, double) { return tanh_gradient_from_output(dy, y); }},
    {Unary::erf, kMonotone, false, Values::normal,
     [](Var dy, Var x, Var, double, double) {
       return mul(dy, affine(exp(neg(square(x))), kTwoOverSqrtPi));
     }},
    {Unary::exp, kMonotone, true, Values::normal,
     [](Var dy, Var, Var y, double, double) { return mul(dy, y); }},
    {Unary::log, kMonotone, false, Values::positive,
     [](Var dy, Var x, Var, double, double) { return div(dy, x); }},
    {Unary::rsqrt, kMonotone, true, Values::positive,
     [](Var dy, Var x, Var y, double, double) { return affine(div(mul(dy, y), x), -0.5); }},
    {Unary::reciprocal, kMonotone, false, Values::positive,
     [](Var dy, Var, Var y, double, double) { return neg(mul(dy, square(y))); }},
    {Unary::power, kMonotone, false, Values::positive,
     [](Var dy, Var x, Var, double p0, double) { return affine(mul(dy, pow(x, p0 - 1)), p0); },
     2.5},
    {Unary::abs, kMonotone, true, Values::away_from_zero,
     [](Var dy, Var x, Var, double, double) { return mul(dy, sign(x)); }},
    {Unary::sign, kStop, false, Values::away_from_zero, nullptr},
    {Unary::step, kStop, true, Values::away_from_zero, nullptr},
    {Unary::inside, kStop, true, Values::away_from_zero, nullptr, -0.1, 0.1},
    {Unary::is_zero, kStop, true, Values::away_from_zero, nullptr},
    {Unary::clamp, kMonotone, false, Values::away_from_zero,
     [](Var dy, Var x, Var, double p0, double p1) { return mul(dy, inside(x, p0, p1)); }, 0, 1.6},
    {Unary::stabilize, kLinear, false, Values::away_from_zero,
     [](Var dy, Var, Var, double, double) { return dy; }, 0.125},
};

const BinaryEntry more_binary[] = {
    {Binary::gate, RelevanceClass::product, false, Values::normal, Values::normal,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       if (v.wants(0)) v.give(0, back_to(mul(dy, b), a));
       if (v.wants(1)) v.give(1, back_to(mul(dy, a), b));
     }},
    {Binary::safe_divide, RelevanceClass::product, false, Values::normal, Values::positive,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       if (v.wants(0)) v.give(0, back_to(safe_divide(dy, b), a));
       if (v.wants(1)) v.give(1, neg(back_to(safe_divide(mul(dy, v.output()), b), b)));
     }},
    {Binary::pow, RelevanceClass::monotone, false, Values::positive, Values::normal,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       if (v.wants(0)) v.give(0, back_to(mul(dy, div(mul(b, v.output()), a)), a));
       if (v.wants(1)) v.give(1, back_to(mul(dy, mul(v.output(), log(a))), b));
     }},
    {Binary::mask_nonzero, kLinear, true, Values::normal, Values::away_from_zero,
     [](Vjp& v, Var dy, Var a, Var b, double, double) {
       v.give(0, back_to(mask_nonzero(dy, b), a));
     }},
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
         const Var slope = sigmoid_gradient_from_output(t, s);
         return mul(slope, affine(mul(x, affine(s, -2, 1)), 1, 2));
       });
     }},
    {Binary::softplus_gradient, RelevanceClass::product, false, Values::normal, Values::normal,
     [](Vjp& v, Var dy, Var, Var b, double, double) {
       gradient_vjp<Binary::softplus_gradient>(v, dy, b, 0, [](Var t, Var x, double) {
         return record_binary(Binary::sigmoid_gradient_from_output, t, sigmoid(x));
       });
     }},
    {Binary::hard_swish_gradient, RelevanceClass::product, false, Values::normal, Values::normal,
     [](Vjp& v, Var dy, Var, Var b, double, double) {
       gradient_vjp<Binary::hard_swish_gradient>(v, dy, b, 0, [](Var t, Var x, double) {
         return affine(mul(t, inside(x, -3, 3)), 1.0 / 3);
       });
     }},
    {Binary::tanh_gradient_from_output, RelevanceClass::product, false, Values::normal,
     Values::unit,
     [](Vjp& v, Var dy, Var, Var b, double, double) {
       gradient_vjp<Binary::tanh_gradient_from_output>(
           v, dy, b, 0, [](Var t, Var y, double) { return affine(mul(t, y), -2); });
     }},
};

Var weighted_sum(Var a, double weight_a, Var b, double weight_b) {
  return record_binary(Binary::weighted_sum, a, b, weight_a, weight_b);
}
Var leaky_relu(Var x, double slope) { return record_unary(Unary::leaky_relu, x, slope); }
Var elu(Var x, double alpha) { return record_unary(Unary::elu, x, alpha); }
Var hard_sigmoid(Var x, double scale, double offset) {
  return record_unary(Unary::hard_sigmoid, x, scale, offset);
}
Var clamp(Var x, double low, double high) { return record_unary(Unary::clamp, x, low, high); }
Var inside(Var x, double low, double high) { return record_unary(Unary::inside, x, low, high); }
Var stabilize(Var x, double epsilon) { return record_unary(Unary::stabilize, x, epsilon); }
Var pow(Var x, double exponent) { return record_unary(Unary::power, x, exponent); }
Var pow(Var x, Var exponent) { return record_binary(Binary::pow, x, exponent); }

}  // namespace tapescope
