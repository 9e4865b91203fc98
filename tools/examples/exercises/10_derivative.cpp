// Exercise 10: a wrong derivative to find. Training with it works, and is worse by a little.
// `tools/exercise 10` judges.
#include "tools/examples/exercises/judge.h"

using namespace tapescope;

// y = a / b
class Divide final : public judge::ElementOp {
 public:
  Divide() : ElementOp("divide", [](const double* x) { return x[0] / x[1]; }) {}
  void vjp(Vjp& v) const override {
    const Var a = v.operand(0), b = v.operand(1), dy = v.cotangent();
    if (v.wants(0)) v.give(0, div(dy, b));
    if (v.wants(1)) v.give(1, neg(div(mul(dy, a), b)));
  }
};

const judge::Exercise kExercise = judge::op(std::make_shared<Divide>(), 2, "div",
                                            "The harness moves one operand at a time along a "
                                            "random direction and compares: the operand that "
                                            "it names is the one whose formula to look at.");
