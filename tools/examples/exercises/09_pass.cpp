// Exercise 9: a pass of the compiler. `tools/exercise 9` judges.
#include <map>

#include "tools/examples/exercises/judge.h"

using namespace tapescope;

// Common subexpressions: a step that does what one before it does, of the same values, is that one.
// Steps and values are known by their numbers; r.step(s) has an op, operands and outputs.
void mine(Rewriter& r) {
  std::map<std::pair<std::string, std::vector<int>>, int> first;  // by what a step does
  for (int s = 0; s < r.steps(); ++s) {
    // TODO: is this all that a step does?
    const std::string does(r.step(s).op->name());
    const auto [found, fresh] = first.try_emplace({does, r.step(s).operands}, s);
    if (fresh) continue;
    // Whoever reads this step's output reads the other's: nobody reads it any more, and it is dead.
    r.substitute(r.step(s).outputs[0], r.step(found->second).outputs[0]);
  }
}

const judge::Exercise kExercise = judge::merge_pass(
    mine,
    "Steps of equal ops on equal operands give equal values: the later one's readers can read the "
    "first one's.",
    "Equal names are not equal functions: an op has attributes, too. describe(op) has both, and "
    "equal "
    "texts mean equal ops.");
