#include "autograd/explain/fullgrad.h"

#include "autograd/explain/composite.h"
#include "autograd/explain/target.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "autograd/walk.h"

namespace tapescope::explain {
namespace {

constexpr int kAllButRows[] = {1, 2, 3};
constexpr int kLastAxis[] = {3};

// {N,h,w,K} -> {N,H,W,1}. As the authors' code has it, channels keep their share of each other:
// they are scaled together, then added up.
Var psi(Var part, Var x) {
  const Var size = abs(part);
  const Var shifted = sub(size, neg(reduce_max(neg(size), kAllButRows)));
  const Var scaled = reduce_sum(safe_divide(shifted, reduce_max(shifted, kAllButRows)), kLastAxis);
  const bool same = part.shape()[1] == x.shape()[1] && part.shape()[2] == x.shape()[2];
  return same ? scaled : upsample_bilinear(scaled, x.shape()[1], x.shape()[2]);
}

// What the node answers where its explained operands are zero, broadcasting to its output; null
// where that is nothing.
Var constant_part(Tape& tape, const Place& place) {
  const Node& node = *place.node;
  if (place.weighted) {  // recording a convolution of zeros would cost as much as the first
    for (int i = 0; i < node.operand_count; ++i) {
      if (node.op->role(i) == Role::bias) return node.operand_data[i];
    }
    return {};
  }
  // Only an operand that is not explained, or a part of the op's own, can add anything.
  if (!node.op->has_constant_part() && place.active + 1 == 1u << node.operand_count) return {};
  std::vector<Var> operands(node.operands().begin(), node.operands().end());
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (place.active >> i & 1u) operands[i] = zeros_like(operands[i]);
  }
  return tape.record(node.op, operands).out();
}

}  // namespace

FullGradient full_gradient(Tape& tape, Var target, Var x) {
  require_evaluation(tape, "fullgrad");
  if (x.shape().rank() != 4) {
    throw usage_error("[fullgrad] '{}' has shape {}; it needs an image {{N,H,W,C}}", x.path(),
                      to_string(x.shape()));
  }
  const Var explained[] = {x};
  std::vector<Place> linear;
  std::vector<Var> wrt = {x};
  for (const Place& place : route(tape, target, explained)) {
    if (place.kind != RelevanceClass::linear) continue;
    linear.push_back(place);
    wrt.push_back(place.node->out());
  }
  const std::vector<Var> gradients = tape.gradient(target, wrt);
  const Tape::Scope in(tape, "fullgrad");
  const Var product = mul(x, gradients[0]);
  FullGradient result{psi(product, x), row_sums(product), zeros_like(target)};
  for (std::size_t i = 0; i < linear.size(); ++i) {
    const Var constant = constant_part(tape, linear[i]);
    if (!constant) continue;
    const Var part = mul(gradients[i + 1], constant);
    result.bias_part = add(result.bias_part, row_sums(part));
    if (part.shape().rank() == 4 && part.shape()[1] * part.shape()[2] > 1) {
      result.map = add(result.map, psi(part, x));
    }
  }
  return result;
}

}  // namespace tapescope::explain
