// An op of one's own with its gradient: mish(x) = x tanh(softplus(x)) (Misra 2019, arXiv
// 1908.08681). Everything the engine does with its ops it does with this one: training,
// explanations, printing.
#include <fmt/format.h>
#include <tapescope/tapescope.h>

#include <cmath>

using namespace tapescope;

class Mish final : public Op {
 public:
  std::string_view name() const override { return "mish"; }
  void attributes(AttributeVisitor&) const override {}
  Types infer(std::span<const Type> t) const override {
    if (t[0].dtype != DType::f32) throw usage_error("[mish] takes f32, not {}", to_string(t[0]));
    return {t[0]};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>, const Backend&) const override {
    return Plan("simple", 0, [n = t[0].elements()](const Queue&, const Buffers& b) {
      const float* x = static_cast<const float*>(b.in[0]);
      float* y = static_cast<float*>(b.out[0]);
      for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] * std::tanh(std::log1p(std::exp(x[i])));
    });
  }
  // With t = tanh(softplus(x)): dy/dx = t + x (1 - t^2) sigmoid(x), recorded as nodes like any
  // other.
  void vjp(Vjp& v) const override {
    const Var x = v.operand(0), t = tanh(softplus(x));
    const Var slope = add(t, mul(mul(x, affine(square(t), -1, 1)), sigmoid(x)));
    v.give(0, mul(v.cotangent(), slope));
  }
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::monotone; }
  Cost cost(std::span<const Type> t, std::span<const Type> y) const override {
    return memory_cost(t, y, 8);
  }
  Footprint footprint() const override { return {}; }
};
Var mish(Var x) { return record<Mish>({x}); }

int main() {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", Tensor::from<float>({4}, {-2.0f, -0.5f, 0.5f, 2.0f}));
  const Var y = mish(x), dx = tape.gradient(sum(y), {x})[0];
  fmt::print("{}", list_nodes(tape));
  int wrong = 0;
  for (std::int64_t i = 0; i < 4; ++i) {
    const auto f = [](double v) { return v * std::tanh(std::log1p(std::exp(v))); };
    const double v = x.value().item(i), expected = (f(v + 1e-4) - f(v - 1e-4)) / 2e-4;
    fmt::print("x {:5.2f}  y {:8.5f}  dy/dx {:8.5f}  by differences {:8.5f}\n", v,
               y.value().item(i), dx.value().item(i), expected);
    wrong += std::abs(dx.value().item(i) - expected) > 1e-5;
  }
  return wrong;
}
