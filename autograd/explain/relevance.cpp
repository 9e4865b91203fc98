#include "autograd/explain/relevance.h"

#include <array>
#include <bit>
#include <unordered_map>

#include "autograd/explain/linear_rule.h"
#include "autograd/explain/target.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "autograd/walk.h"

namespace tapescope::explain {
namespace {

// relevance() itself; `whole` is false for the inside of one node.
std::vector<Var> distribute(Tape& tape, Var target, std::span<const Var> wrt,
                            const Composite& composite, Var seed, Ledger* ledger, bool whole);

std::string_view name_of(RelevanceClass kind) {
  switch (kind) {
    case RelevanceClass::linear:
      return "linear";
    case RelevanceClass::moves:
    case RelevanceClass::selects:
      return "routing";
    case RelevanceClass::monotone:
      return "monotone";
    case RelevanceClass::product:
      return "a product of two explained operands";
    case RelevanceClass::normaliser:
      return "a normaliser";
    case RelevanceClass::elementary:
      return "made of elementary ops";
    case RelevanceClass::stop:
      break;
  }
  return "of no relevance class";
}

// What is decided of a node before anything is appended.
struct Decision {
  Place place;
  const Rule* rule = nullptr;
  const Node* batch_norm = nullptr;  // folded into this node
  bool folded_away = false;          // a normalisation that became part of its producer
};
using Decisions = std::unordered_map<const Node*, Decision>;

// A normalisation is folded where it alone, of the nodes on the way, reads a weighted node.
void fold(Decisions& decisions, Var target, std::span<const Var> wrt) {
  std::unordered_map<const Node*, int> readers;
  for (const auto& [node, decision] : decisions) {
    for (int i = 0; i < node->operand_count; ++i) {
      if (decision.place.active >> i & 1u) ++readers[node->operand_data[i].node];
    }
  }
  for (const Var& var : wrt) readers[var.node] = 2;  // its own relevance is asked for
  readers[target.node] = 2;
  for (auto& [node, decision] : decisions) {
    if (!node->op->folds_into_weights() || decision.place.active != 1u) continue;
    const auto producer = decisions.find(node->operand_data[0].node);
    if (producer == decisions.end() || readers[producer->first] != 1) continue;
    const Rule* rule = producer->second.rule;
    if (!producer->second.place.weighted || producer->first->op->channel_axis() < 0) continue;
    if (rule == nullptr || rule->kind != Rule::Kind::linear) continue;
    producer->second.batch_norm = node;
    decision.folded_away = true;
  }
}

// Empty, or why the node cannot have the rule it matched.
std::string objection(const Decision& decision) {
  const Place& place = decision.place;
  const Node& node = *place.node;
  if (decision.folded_away) return "";
  if (decision.rule == nullptr) return "no rule matches";
  const bool alone = place.active == 1u && node.operand_data[0].shape() == node.types()[0].shape;
  switch (decision.rule->kind) {
    case Rule::Kind::linear:
      if (place.kind != RelevanceClass::linear) return "it is not linear";
      return why_not({&node, place.active, decision.batch_norm}, *decision.rule);
    case Rule::Kind::pass:
    case Rule::Kind::guided:
    case Rule::Kind::deconvnet:
      return alone ? "" : "the rule is for element-wise functions of one operand";
    case Rule::Kind::share:
      return place.kind == RelevanceClass::product ? "" : "it is not a product";
    case Rule::Kind::signal:
      if (node.operand_data[0].shape() != node.types()[0].shape) return "its signal is repeated";
      return place.kind == RelevanceClass::product ? "" : "it is not a product";
    case Rule::Kind::expansion:
      return place.kind == RelevanceClass::normaliser && alone && node.op->nonnegative()
                 ? ""
                 : "it is not a softmax";
    case Rule::Kind::elementary:
      return place.kind == RelevanceClass::elementary ? "" : "it is not made of elementary ops";
    case Rule::Kind::gradient:
      break;
  }
  return "";
}

// `whole`: all of the way from what is explained, not the inside of one of its nodes.
Decisions decide(const Tape& tape, Var target, std::span<const Var> wrt, const Composite& composite,
                 bool whole) {
  static const Rule kGradient = rules::gradient();
  Decisions decisions;
  const std::vector<Place> places = route(tape, target, wrt);
  if (whole) composite.check(places);
  for (const Place& place : places) {
    const Rule* rule = composite.rule_for(place);
    if (rule == nullptr && composite.domain() == Composite::Domain::gradient) rule = &kGradient;
    decisions[place.node] = {place, rule};
  }
  if (composite.folds_batch_norm() && composite.domain() == Composite::Domain::relevance) {
    fold(decisions, target, wrt);
  }
  std::string missing;
  for (const Place& place : places) {
    const Decision& decision = decisions[place.node];
    if (const std::string why = objection(decision); !why.empty()) {
      missing += fmt::format("\n  '{}' ({}, {}): {}{}", place.node->path(), place.node->op->name(),
                             name_of(place.kind),
                             decision.rule != nullptr ? decision.rule->name + ": " : "", why);
    }
    if (target.shape().rank() == 1 && !place.node->op->rows_independent()) {
      missing += fmt::format("\n  '{}' mixes the rows of a batch", place.node->path());
    }
  }
  if (!missing.empty()) {
    throw usage_error(
        "[{}] cannot explain '{}': these nodes on the way to it have no rule; add one with "
        "Composite::on, or explain a node before them (a logit instead of a probability):{}",
        composite.name(), target.path(), missing);
  }
  return decisions;
}

// Of something that may have fewer axes than the value it belongs to.
Var row_sums_like(Var v, Var like) {
  if (v && v.shape() != like.shape()) v = broadcast_like(v, like);
  return v ? row_sums(v) : Var{};
}

// What follows the derivative keeps every element's relevance, but for operands not explained.
void append_gradient(const Decision& decision, std::span<const Var> cotangents,
                     std::span<Var> results, Taken* taken) {
  const Node& node = *decision.place.node;
  unsigned wanted = decision.place.active;
  if (taken != nullptr) {
    for (int i = 0; i < node.operand_count; ++i) {
      if (passes(node.op->role(i))) wanted |= 1u << i;
    }
  }
  Vjp v(node, cotangents, wanted, results);
  node.op->vjp(v);
  if (taken == nullptr) return;
  if (node.op->has_constant_part() &&
      results[0] != cotangents[0]) {  // a margin's relevance: what the way back leaves out
    const Node& back = *results[0].node;
    const Var ones[] = {ones_like(results[0])};
    std::array<Var, kMostOperands> kept{};
    Vjp again(back, ones, 1u, kept);
    back.op->vjp(again);
    taken->bias = row_sums(mul(cotangents[0], affine(kept[0], -1, 1)));
  }
  for (int i = 0; i < node.operand_count; ++i) {
    Var& result = results[static_cast<std::size_t>(i)];
    if (decision.place.active >> i & 1u || !result) continue;
    const Var kept = row_sums(result);
    taken->bias = taken->bias ? add(taken->bias, kept) : kept;
    result = {};
  }
}

// A sum of products is linear in each operand: each has its part as if the others were weights.
void append_share(const Decision& decision, Var arrived, std::span<Var> results, Taken* taken) {
  const Node& node = *decision.place.node;
  const unsigned active = decision.place.active;
  const Var part = affine(arrived, 1.0 / std::popcount(active));
  for (std::size_t i = 0; i < results.size(); ++i) {
    if ((active >> i & 1u) == 0) continue;
    if (sums_products(*node.op)) {
      append_linear({&node, 1u << i}, rules::epsilon(decision.rule->epsilon), part, results, taken);
    } else {
      results[i] = reduce_like(part, node.operand_data[i]);
    }
  }
}

void append_softmax(const Node& node, Var arrived, std::span<Var> results, Taken* taken) {
  const Var x = node.operand_data[0], y = node.out();
  const int last[] = {x.shape().rank() - 1};
  results[0] = mul(x, sub(arrived, mul(y, reduce_sum(arrived, last))));
  if (taken == nullptr) return;
  const Var slopes = sub(x, reduce_sum(mul(x, y), last));  // sum_i x_i dy_j/dx_i / y_j
  taken->bias = mul(arrived, affine(slopes, -1, 1));
}

// The inside of an op that is made of others.
void append_elementary(const Decision& decision, const Composite& composite, Var arrived,
                       std::span<Var> results, Taken* taken) {
  const Node& node = *decision.place.node;
  std::vector<Var> wrt;
  for (int i = 0; i < node.operand_count; ++i) {
    if (decision.place.active >> i & 1u) wrt.push_back(node.operand_data[i]);
  }
  const Var inner = node.op->decompose(*node.tape, node.operands())[0];
  Ledger ledger;
  const std::vector<Var> passed =
      distribute(*node.tape, inner, wrt, composite, arrived, taken ? &ledger : nullptr, false);
  for (std::size_t i = 0, k = 0; i < results.size(); ++i) {
    if (decision.place.active >> i & 1u) results[i] = passed[k++];
  }
  const auto also = [](Var& sum, Var v) { sum = sum ? add(sum, v) : v; };
  for (const LedgerRow& row : ledger.rows) {
    also(taken->bias, row.bias);
    also(taken->stabiliser, row.stabiliser);
    also(taken->empty, row.empty);
  }
}

void append_rule(const Decision& decision, const Composite& composite,
                 std::span<const Var> cotangents, std::span<Var> results, Taken* taken) {
  const Node& node = *decision.place.node;
  const Var arrived = cotangents[0];
  if (decision.folded_away) {
    results[0] = arrived;
    return;
  }
  switch (decision.rule->kind) {
    case Rule::Kind::linear:
      append_linear({&node, decision.place.active, decision.batch_norm}, *decision.rule, arrived,
                    results, taken);
      return;
    case Rule::Kind::pass:
      results[0] = arrived;
      return;
    case Rule::Kind::gradient:
      append_gradient(decision, cotangents, results, taken);
      return;
    case Rule::Kind::share:
      append_share(decision, arrived, results, taken);
      return;
    case Rule::Kind::expansion:
      append_softmax(node, arrived, results, taken);
      return;
    case Rule::Kind::signal:
      results[0] = arrived;
      return;
    case Rule::Kind::elementary:
      append_elementary(decision, composite, arrived, results, taken);
      return;
    case Rule::Kind::guided: {
      const Var positive[] = {relu(arrived)};
      Vjp v(node, positive, 1u, results);
      node.op->vjp(v);
      return;
    }
    case Rule::Kind::deconvnet:
      results[0] = relu(arrived);
      return;
  }
}

void account(Ledger& ledger, const Decision& decision, Var arrived, std::span<const Var> results,
             const Taken& taken) {
  const Node& node = *decision.place.node;
  LedgerRow row;
  row.path = node.path();
  row.rule = decision.folded_away ? "folded" : decision.rule->name;
  row.arrived = row_sums(arrived);
  for (const Var& result : results) {
    if (!result) continue;
    const Var sum = row_sums(result);
    row.passed_on = row.passed_on ? add(row.passed_on, sum) : sum;
  }
  const Var nothing = zeros_like(row.arrived);
  const auto entry = [&](Var v) {
    if (!v) return nothing;
    return v.shape() == row.arrived.shape() ? v : row_sums_like(v, node.out());
  };
  if (!row.passed_on) row.passed_on = nothing;
  row.bias = entry(taken.bias);
  row.stabiliser = entry(taken.stabiliser);
  row.empty = entry(taken.empty);
  ledger.rows.push_back(std::move(row));
}

std::vector<Var> distribute(Tape& tape, Var target, std::span<const Var> wrt,
                            const Composite& composite, Var seed, Ledger* ledger, bool whole) {
  const Decisions decisions = decide(tape, target, wrt, composite, whole);
  const std::uint32_t before = tape.mark();
  try {
    {
      const Tape::Scope in = tape.scope_of("relevance", *target.node);
      if (!seed) seed = composite.starts_from_one() ? ones_like(target) : target;
      if (ledger != nullptr) *ledger = {row_sums(seed), {}, {}};
    }
    const Seed seeds[] = {{target, seed}};
    std::vector<Var> result = walk(
        tape, "relevance", seeds, wrt,
        [&](const Node& node, std::span<const Var> cotangents, unsigned, std::span<Var> results) {
          const Decision& decision = decisions.at(&node);
          Taken taken;
          append_rule(decision, composite, cotangents, results,
                      ledger != nullptr ? &taken : nullptr);
          if (ledger != nullptr) account(*ledger, decision, cotangents[0], results, taken);
        });
    for (std::size_t i = 0; i < wrt.size(); ++i) {
      const Tape::Scope in = tape.scope_of("relevance", *wrt[i].node);
      if (!result[i]) result[i] = zeros_like(wrt[i]);
      if (ledger == nullptr) continue;
      const Var sum = row_sums(result[i]);
      ledger->reached = ledger->reached ? add(ledger->reached, sum) : sum;
    }
    return result;
  } catch (...) {
    tape.rollback(before);
    throw;
  }
}

}  // namespace

std::vector<Var> relevance(Tape& tape, Var target, std::span<const Var> wrt,
                           const Composite& composite, Var seed, Ledger* ledger) {
  require_evaluation(tape, composite.name());
  if (seed && seed.shape() != target.shape()) {
    throw usage_error("[{}] the seed has shape {} but '{}' has {}", composite.name(),
                      to_string(seed.shape()), target.path(), to_string(target.shape()));
  }
  return distribute(tape, target, wrt, composite, seed, ledger, true);
}

Var contrastive_excitation_backprop(Tape& tape, Var target, Var wrt) {
  const Var all[] = {wrt};
  const Var excitation = relevance(tape, target, all, excitation_backprop())[0];
  return sub(excitation, relevance(tape, target, all, inhibition_backprop())[0]);
}

}  // namespace tapescope::explain

namespace tapescope {

std::vector<Var> Tape::relevance(Var target, std::span<const Var> wrt,
                                 const explain::Composite& composite, Var seed) {
  return explain::relevance(*this, target, wrt, composite, seed);
}

}  // namespace tapescope
