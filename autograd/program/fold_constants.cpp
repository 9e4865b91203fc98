// Constant folding: a step of constants alone is computed here, and its values are constants.
#include <algorithm>

#include "autograd/program/passes.h"

namespace tapescope {
namespace {

// A large tensor of one number is better made when it is needed.
constexpr std::size_t kMostBytes = 1 << 20;

bool folds(const Rewriter& r, int s) {
  const Step& step = r.step(s);
  std::size_t bytes = 0;
  for (int output : step.outputs) bytes += r.type(output).bytes();
  return bytes <= kMostBytes &&
         std::all_of(step.operands.begin(), step.operands.end(),
                     [&](int operand) { return r.constant(operand) != nullptr; });
}

}  // namespace

void fold_constants(Rewriter& r) {
  for (int s = 0; s < r.steps(); ++s) {
    if (!folds(r, s)) continue;
    Tape scratch(r.backend().device, Mode::evaluation);
    std::vector<Var> operands;
    for (int operand : r.step(s).operands) {
      operands.push_back(scratch.constant(*r.constant(operand)));
    }
    const Node& node = scratch.record(r.step(s).op, operands);
    const std::vector<int> outputs = r.step(s).outputs;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      r.substitute(outputs[i], r.add_constant(node.values()[i]));
    }
  }
}

}  // namespace tapescope
