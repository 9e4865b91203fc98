// Composites by their names on the command line, and such as name nodes and rules there.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "autograd/explain/composite.h"

namespace tapescope::explain {

// What the composites of layer-wise relevance propagation may be told.
struct LrpSettings {
  double epsilon = 1e-6, gamma = 0.25;
  Bound low, high;    // of z-box
  std::string rules;  // of lrp-composite: see by_names()
};
// Equal settings, equal keys.
std::string key_of(const LrpSettings& settings);

struct NamedComposite {
  std::string_view name;
  Composite (*make)(const LrpSettings& settings);
};
std::span<const NamedComposite> named_composites();

// "conv1*=z-box,layer4*=gamma:0.25,*=epsilon:1e-6": for each weighted node and each normalisation
// the first rule whose glob matches its path or scope; nodes without one, and all others, as
// with_defaults() has them. Rules are epsilon[:E], gamma[:G[:E]], z-plus[:E], alpha-beta:A:B[:E],
// z-box[:LOW:HIGH], flat and w-square; what is left out is that of `settings`, hyphens too. Throws
// a usage error that names the part at fault.
Composite by_names(std::string_view rules, const LrpSettings& settings);

// The composite of a method for this target: of named_composites(), or lrp-composite, which is
// by_names() and a usage error where a glob takes no node. Empty where there is none of that name.
std::optional<Composite> composite_for(std::string_view method, const LrpSettings& settings,
                                       const Tape& tape, Var target, std::span<const Var> wrt);

}  // namespace tapescope::explain
