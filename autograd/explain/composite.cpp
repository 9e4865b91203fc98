#include "autograd/explain/composite.h"

#include <fnmatch.h>

#include "autograd/explain/linear_rule.h"
#include "autograd/reach.h"
#include "autograd/tape.h"

namespace tapescope::explain {
namespace {

// A signal and how much of it passes, both explained.
bool is_gated(const Place& place) {
  return place.kind == RelevanceClass::product && op("gate")(place);
}

// Attention: a matrix product of two explained operands.
bool is_sum_of_products(const Place& place) {
  return place.kind == RelevanceClass::product && sums_products(*place.node->op);
}

// A ReLU, or one that saturates: clamp(x, 0, 6).
bool is_rectifier(const Place& place) {
  return op("relu")(place) || (op("clamp")(place) && place.node->op->nonnegative());
}

bool has_weights(const Node& node) {
  for (int i = 0; i < node.operand_count; ++i) {
    if (node.op->role(i) == Role::weight) return !node.op->folds_into_weights();
  }
  return false;
}

}  // namespace

std::vector<Place> route(const Tape& tape, Var target, std::span<const Var> wrt) {
  const Var to[] = {target};
  const std::vector<bool> on_way = between(tape, wrt, to, Through::derivatives);
  const std::size_t count = tape.nodes().size();
  // Whether the input is reached from the node, and the target from it, past no weighted node.
  std::vector<bool> from_input(count, false), to_target(count, false);
  for (const Var& var : wrt) from_input[var.node->index] = true;
  std::vector<Place> places;
  for (std::size_t i = 0; i < count; ++i) {
    const Node& node = *tape.nodes()[i];
    if (!on_way[i] || node.op->is_leaf()) continue;
    Place place{&node};
    bool near = false;
    for (int k = 0; k < node.operand_count; ++k) {
      const std::uint32_t from = node.operand_data[k].node->index;
      if (!passes(node.op->role(k)) || !on_way[from]) continue;
      place.active |= 1u << k;
      near = near || from_input[from];
    }
    if (place.active == 0) continue;  // one of wrt, with nothing explained before it
    place.kind = node.op->relevance_class(place.active);
    place.weighted = place.kind == RelevanceClass::linear && has_weights(node);
    place.first_linear = place.weighted && near;
    // An explained node behind another one is not where the way begins.
    from_input[i] = near && !place.weighted;
    places.push_back(place);
  }
  to_target[target.node->index] = true;
  for (std::size_t p = places.size(); p-- > 0;) {
    Place& place = places[p];
    if (!to_target[place.node->index]) continue;
    place.last_linear = place.weighted;
    if (place.weighted) continue;
    for (int k = 0; k < place.node->operand_count; ++k) {
      if (place.active >> k & 1u) to_target[place.node->operand_data[k].node->index] = true;
    }
  }
  return places;
}

Match op(std::string name) {
  return [name](const Place& place) { return place.node->op->name() == name; };
}
Match scope(std::string glob) {
  return [glob](const Place& place) {
    return fnmatch(glob.c_str(), std::string(place.node->scope()).c_str(), 0) == 0;
  };
}
Match relevance_class(RelevanceClass kind) {
  return [kind](const Place& place) { return place.kind == kind; };
}
Match first_linear() {
  return [](const Place& place) { return place.first_linear; };
}
Match last_linear() {
  return [](const Place& place) { return place.last_linear; };
}
Match any() {
  return [](const Place&) { return true; };
}

const Rule* Composite::rule_for(const Place& place) const {
  for (const auto& [match, rule] : entries_) {
    if (match(place)) return &rule;
  }
  return nullptr;
}

Composite& with_defaults(Composite& composite, double epsilon) {
  return composite.on(relevance_class(RelevanceClass::monotone), rules::pass())
      .on(relevance_class(RelevanceClass::moves), rules::gradient())
      .on(relevance_class(RelevanceClass::selects), rules::gradient())
      .on(is_gated, rules::signal())
      .on(is_sum_of_products, rules::share(epsilon))
      .on(op("softmax"), rules::expansion())
      .on(relevance_class(RelevanceClass::elementary), rules::elementary())
      .on(op("upsample_nearest"), rules::gradient())  // repeats elements
      .on(op("broadcast_like"), rules::gradient())
      .on(relevance_class(RelevanceClass::linear), explain::rules::epsilon(epsilon));
}

Composite guided_backprop() {
  return Composite("guided-backprop", Composite::Domain::gradient)
      .on(is_rectifier, rules::guided());
}

Composite deconvnet() {
  return Composite("deconvnet", Composite::Domain::gradient).on(is_rectifier, rules::deconvnet());
}

Composite excitation_backprop(bool biases) {
  Composite composite("excitation-backprop");
  const Rule rule = biases ? rules::z_plus() : rules::without_bias(rules::z_plus());
  composite.start_from_one().on([](const Place& place) { return place.weighted; }, rule);
  composite.on(op("sub"), rules::gradient());
  return with_defaults(composite);
}

Composite inhibition_backprop() {
  Composite composite("inhibition-backprop");
  const Rule rule = rules::without_bias(rules::z_plus());
  composite.start_from_one()
      .on(last_linear(), rules::z_minus())
      .on([](const Place& place) { return place.weighted; }, rule)
      .on(op("sub"), rules::gradient());
  return with_defaults(composite);
}

}  // namespace tapescope::explain

namespace tapescope::lrp {

using explain::Composite;
using explain::Rule;
using namespace explain::rules;

namespace {

// `conv` for convolutions, epsilon for matrix products.
Composite of(Composite composite, const Rule& conv, double epsilon) {
  composite.on(explain::op("conv2d"), conv)
      .on(explain::op("matmul"), explain::rules::epsilon(epsilon));
  return explain::with_defaults(composite, epsilon);
}
Composite flat_first(std::string name, double epsilon) {
  return Composite(std::move(name)).on(explain::first_linear(), flat(epsilon));
}

}  // namespace

Composite epsilon(double epsilon) {
  Composite composite("lrp-epsilon");
  return explain::with_defaults(composite, epsilon);
}
Composite epsilon_plus(double epsilon) {
  return of(Composite("lrp-epsilon-plus"), z_plus(epsilon), epsilon);
}
Composite epsilon_plus_flat(double epsilon) {
  return of(flat_first("lrp-epsilon-plus-flat", epsilon), z_plus(epsilon), epsilon);
}
Composite epsilon_gamma_box(explain::Bound low, explain::Bound high, double gamma, double epsilon) {
  Composite composite("lrp-epsilon-gamma-box");
  composite.on(explain::first_linear(), z_box(std::move(low), std::move(high), epsilon));
  return of(std::move(composite), explain::rules::gamma(gamma, epsilon), epsilon);
}
Composite epsilon_alpha2_beta1(double epsilon) {
  return of(Composite("lrp-epsilon-alpha2-beta1"), alpha_beta(2, 1, epsilon), epsilon);
}
Composite epsilon_alpha2_beta1_flat(double epsilon) {
  return of(flat_first("lrp-epsilon-alpha2-beta1-flat", epsilon), alpha_beta(2, 1, epsilon),
            epsilon);
}

}  // namespace tapescope::lrp
