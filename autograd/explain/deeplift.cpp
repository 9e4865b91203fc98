#include "autograd/explain/deeplift.h"

#include <array>
#include <unordered_map>

#include "autograd/explain/composite.h"
#include "autograd/explain/target.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "autograd/walk.h"

namespace tapescope::explain {
namespace {

enum class Step : unsigned char { derivative, rescale, winner, share, elementary, missing };

Step step_of(const Place& place) {
  const Op& op = *place.node->op;
  switch (place.kind) {
    case RelevanceClass::linear:
      return Step::derivative;
    case RelevanceClass::moves:
      return Step::derivative;
    case RelevanceClass::selects:  // among the elements of one operand
      return place.node->operand_count == 1 ? Step::winner : Step::missing;
    case RelevanceClass::monotone:
      return place.active == 1u ? Step::rescale : Step::missing;
    case RelevanceClass::product:
      return op.weight_operand(1u) >= 0 && op.weight_operand(2u) >= 0 ? Step::share : Step::missing;
    case RelevanceClass::elementary:
      return place.active == 1u ? Step::elementary : Step::missing;
    case RelevanceClass::normaliser:
    case RelevanceClass::stop:
      break;
  }
  return Step::missing;
}

// A node of the sample's recording, and the one that stands for it in the reference's.
struct Pair {
  Step step;
  const Node* reference;
};
using Pairs = std::unordered_map<const Node*, Pair>;

Pairs paired(const Tape& tape, Var target, Var x, Var reference_target, Var reference) {
  const Var from[] = {x}, from_reference[] = {reference};
  const std::vector<Place> own = route(tape, target, from);
  const std::vector<Place> other = route(tape, reference_target, from_reference);
  bool alike = own.size() == other.size() && x.type() == reference.type();
  for (std::size_t i = 0; alike && i < own.size(); ++i) {
    alike = describe(*own[i].node->op) == describe(*other[i].node->op) &&
            own[i].active == other[i].active &&
            own[i].node->types()[0] == other[i].node->types()[0];
  }
  if (!alike) {
    throw usage_error(
        "[deeplift] the ways from '{}' to '{}' and from '{}' to '{}' were not recorded alike: "
        "record the same model for both, on inputs of one type",
        x.path(), target.path(), reference.path(), reference_target.path());
  }
  Pairs pairs;
  std::string missing;
  for (std::size_t i = 0; i < own.size(); ++i) {
    const Node& node = *own[i].node;
    const Step step = step_of(own[i]);
    if (step == Step::missing) {
      missing += fmt::format("\n  '{}' ({})", node.path(), node.op->name());
    }
    if (target.shape().rank() == 1 && !node.op->rows_independent()) {
      missing += fmt::format("\n  '{}' mixes the rows of a batch", node.path());
    }
    pairs[&node] = {step, other[i].node};
  }
  if (!missing.empty()) {
    throw usage_error(
        "[deeplift] cannot explain '{}': these nodes on the way to it have no rule; explain a node "
        "before them (a logit instead of a probability):{}",
        target.path(), missing);
  }
  return pairs;
}

using Results = std::array<Var, kMostOperands>;

Results vjp_of(const Node& node, Var cotangent, unsigned wanted) {
  Results results{};
  std::array<Var, Types::kCapacity> cotangents{cotangent};
  Vjp v(node, std::span<const Var>(cotangents.data(), node.output_count), wanted, results);
  node.op->vjp(v);
  return results;
}

// (f(z) - f(z')) / (z - z'), and f'(z) where the two are too close to divide.
Var rescaled(const Node& node, const Node& reference, Var multiplier) {
  constexpr double kClose = 1e-6;
  const Var apart = sub(node.operand_data[0], reference.operand_data[0]);
  const Var close = inside(apart, -kClose, kClose);
  const Var slope = safe_divide(sub(node.out(), reference.out()), apart);
  const Var through = mul(multiplier, slope);
  const Var secant = mul(through, affine(close, -1, 1));
  return add(secant, mul(vjp_of(node, multiplier, 1u)[0], close));
}

// With c = max(y, y') the sample's winner contributes c - y' and the reference's y - c, which add
// up to y - y'. Neither is more than what its own element changed by, so a change of zero is only
// ever divided into zero.
Var by_winners(const Node& node, const Node& reference, Var multiplier) {
  const Var y = node.out(), y_reference = reference.out();
  const Var larger = maximum(y, y_reference);
  const Var won = vjp_of(node, mul(multiplier, sub(larger, y_reference)), 1u)[0];
  const Var lost = vjp_of(reference, mul(multiplier, sub(y, larger)), 1u)[0];
  const Var both = add(won, lost);
  return safe_divide(both, sub(node.operand_data[0], reference.operand_data[0]));
}

// What `seed` at the target is worth for each unit of difference of x; null where nothing is.
Var multiplier(Tape& tape, const Pairs& pairs, Var target, Var x, Var seed);

// By way of the elementary ops that a fused one is made of.
Var by_elementary(const Node& node, const Node& reference, Var arrived) {
  Tape& tape = *node.tape;
  const Var own = node.op->decompose(tape, node.operands())[0];
  const Var other = reference.op->decompose(tape, reference.operands())[0];
  const Var x = node.operand_data[0], x_reference = reference.operand_data[0];
  return multiplier(tape, paired(tape, own, x, other, x_reference), own, x, arrived);
}

void append_step(const Node& node, const Pair& pair, Var arrived, unsigned wanted,
                 std::span<Var> results) {
  Results given{};
  switch (pair.step) {
    case Step::rescale:
      given[0] = rescaled(node, *pair.reference, arrived);
      break;
    case Step::winner:
      given[0] = by_winners(node, *pair.reference, arrived);
      break;
    case Step::share: {
      const Results own = vjp_of(node, arrived, wanted);
      const Results other = vjp_of(*pair.reference, arrived, wanted);
      for (std::size_t i = 0; i < results.size(); ++i) {
        if (own[i]) given[i] = weighted_sum(own[i], 0.5, other[i], 0.5);
      }
      break;
    }
    case Step::elementary:
      given[0] = by_elementary(node, *pair.reference, arrived);
      break;
    case Step::derivative:
    case Step::missing:
      given = vjp_of(node, arrived, wanted);
      break;
  }
  std::copy_n(given.begin(), results.size(), results.begin());
}

Var multiplier(Tape& tape, const Pairs& pairs, Var target, Var x, Var seed) {
  const Seed seeds[] = {{target, seed}};
  const Var wrt[] = {x};
  return walk(tape, "deeplift", seeds, wrt,
              [&](const Node& node, std::span<const Var> cotangents, unsigned wanted,
                  std::span<Var> results) {
                append_step(node, pairs.at(&node), cotangents[0], wanted, results);
              })[0];
}

}  // namespace

Var deeplift(Tape& tape, Var target, Var x, Var reference_target, Var reference) {
  require_evaluation(tape, "deeplift");
  const Pairs pairs = paired(tape, target, x, reference_target, reference);
  const std::uint32_t before = tape.mark();
  try {
    Var seed;
    {
      const Tape::Scope in = tape.scope_of("deeplift", *target.node);
      seed = ones_like(target);
    }
    const Var through = multiplier(tape, pairs, target, x, seed);
    const Tape::Scope in(tape, "deeplift");
    return through ? mul(through, sub(x, reference)) : zeros_like(x);
  } catch (...) {
    tape.rollback(before);
    throw;
  }
}

}  // namespace tapescope::explain
