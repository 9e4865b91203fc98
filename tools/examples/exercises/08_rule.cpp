// Exercise 8: a rule for relevance. `tools/exercise 8` judges.
#include "tools/examples/exercises/judge.h"

using namespace tapescope;
using namespace tapescope::explain;

// z-plus: of an output, only what speaks for it gets a share, q = (a w)+ = a+ w+ + a- w-, and of
// the bias its positive part.
Rule mine() {
  // TODO: this is epsilon's rule, q = a w: one part that takes the value of all three. Two parts,
  // of {what is taken of the input, of the weights, of the bias}, make z-plus.
  return {.name = "mine", .groups = {{.parts = {{Pick::value, Pick::value, Pick::value}}}}};
}

const judge::Exercise kExercise =
    judge::z_plus_rule(mine,
                       "An input whose product with its weight is negative speaks against the "
                       "output, and z-plus gives it "
                       "nothing; the product is positive where both are, and where neither is.");
