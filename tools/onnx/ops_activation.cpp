// Functions of one operand.
#include <cmath>
#include <limits>
#include <numbers>

#include "tools/onnx/ops.h"

namespace tapescope::onnx {
namespace {

Var softsign(Var x) { return div(x, affine(abs(x), 1, 1)); }
Var mish(Var x) { return mul(x, tanh(softplus(x))); }

// Hendrycks and Gimpel's approximation (arXiv 1606.08415).
Var gelu_tanh(Var x) {
  const Var cubic = add(x, affine(mul(x, square(x)), 0.044715));
  const Var t = tanh(affine(cubic, std::sqrt(2 * std::numbers::inv_pi)));
  return mul(x, affine(t, 0.5, 0.5));
}

struct Function {
  std::string_view op;
  Var (*of)(Var x);
};
constexpr Function kFunctions[] = {
    {"Abs", abs},
    {"Erf", erf},
    {"Exp", exp},
    {"HardSwish", hard_swish},
    {"Log", log},
    {"Mish", mish},
    {"Neg", neg},
    {"Not", logical_not},
    {"Reciprocal", reciprocal},
    {"Relu", relu},
    {"Sigmoid", sigmoid},
    {"Sign", sign},
    {"Softplus", softplus},
    {"Softsign", softsign},
    {"Sqrt", sqrt},
    {"Tanh", tanh},
};

Var activation(const Call& call, Var x) {
  const std::string& op = call.op();
  const auto number = [&](const char* name, double usual) { return call.real(name, usual); };
  if (op == "LeakyRelu") return leaky_relu(x, number("alpha", 0.01));
  if (op == "Elu") return elu(x, number("alpha", 1));
  if (op == "Selu") {  // Klambauer et al. 2017
    const double alpha = number("alpha", 1.67326319217681884765625);
    return affine(elu(x, alpha), number("gamma", 1.05070102214813232421875));
  }
  if (op == "Celu") {
    const double alpha = number("alpha", 1);
    return affine(elu(affine(x, 1 / alpha), 1), alpha);
  }
  if (op == "HardSigmoid") return hard_sigmoid(x, number("alpha", 0.2), number("beta", 0.5));
  if (op == "Gelu") return call.text("approximate", "none") == "tanh" ? gelu_tanh(x) : gelu(x);
  if (op == "Swish") {
    const double alpha = number("alpha", 1);
    return alpha == 1 ? silu(x) : mul(x, sigmoid(affine(x, alpha)));
  }
  const double alpha = number("alpha", 1);  // ThresholdedRelu
  return mul(x, step(affine(x, 1, -alpha)));
}

}  // namespace

void record_function(Call& call) {
  const Value x = call.on_tape(0);
  for (const Function& function : kFunctions) {
    if (function.op == call.op()) return call.give(function.of(x.var), x);
  }
}

void record_activation(Call& call) {
  const Value x = call.on_tape(0);
  call.give(activation(call, x.var), x);
}

void record_clip(Call& call) {
  const double lowest = std::numeric_limits<float>::lowest(), largest = -lowest;
  const bool old = call.opset() < 11;
  const double low = old ? call.real("min", lowest) : call.real_of(1, lowest);
  const double high = old ? call.real("max", largest) : call.real_of(2, largest);
  const Value x = call.on_tape(0);
  if (low > high) return call.give(affine(x.var, 0, high), x);  // the smaller of the two, always
  call.give(low == 0 && high >= largest ? relu(x.var) : clamp(x.var, low, high), x);
}

void record_prelu(Call& call) {
  Value like;
  const std::vector<Var> x = aligned(call, like);
  if (x.size() != 2) throw usage_error("it has {} operands; it must have 2", x.size());
  call.give(add(relu(x[0]), mul(x[1], negative_part(x[0]))), like);
}

// Nothing is dropped where a net answers; the mask is all true.
void record_dropout(Call& call) {
  const Value& x = call.operand(0);
  if (call.opset() >= 12 && call.has(2)) {
    const Known& training = call.known(2);
    if (training.elements() == 1 && number_at(training, 0).c != 0) {
      throw usage_error("it drops at random (training_mode); export the model for inference");
    }
  }
  call.give(x);
  if (!call.wanted(1)) return;
  if (x.batched) throw usage_error("its mask is not given");
  auto mask = call.make(Element::boolean, extents_of(x));
  for (std::int64_t i = 0; i < mask->elements(); ++i) put(*mask, i, Number{0, 1});
  call.give(mask, 1);
}

}  // namespace tapescope::onnx
