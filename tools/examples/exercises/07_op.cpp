// Exercise 7: an op with its gradient. `tools/exercise 7` judges.
#include <cmath>

#include "tools/examples/exercises/judge.h"

using namespace tapescope;

// y = x s, s = 1 / (1 + exp(-x)): "SiLU" (Elfwing et al. 2017, arXiv 1702.03118).
class Silu final : public judge::ElementOp {
 public:
  Silu() : ElementOp("silu", [](const double* x) { return x[0] / (1 + std::exp(-x[0])); }) {}
  void vjp(Vjp& v) const override {
    // TODO: the cotangent of x is that of y times dy/dx. Record it with ops of the tape:
    // sigmoid(x), mul(a, b), add(a, b), affine(a, factor, offset). v.operand(0) is x, v.output() is
    // y.
    v.give(0, v.cotangent());
  }
};

const judge::Exercise kExercise = judge::op(
    std::make_shared<Silu>(), 1, "silu",
    "A cotangent that passes unchanged says that y grows as fast as x. By the product rule "
    "dy/dx = s + x ds/dx, and ds/dx = s (1 - s).");
