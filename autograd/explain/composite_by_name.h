// A composite from the names of nodes and rules, as the command line has them.
#pragma once

#include <string>
#include <string_view>

#include "autograd/explain/composite.h"

namespace tapescope::explain {

// What the composites of layer-wise relevance propagation may be told.
struct LrpSettings {
  double epsilon = 1e-6, gamma = 0.25;
  Bound low, high;    // of z-box
  std::string rules;  // of by_names()
};
// Equal settings, equal keys.
std::string key_of(const LrpSettings& settings);

// lrp-composite, of settings.rules: "conv1*=z-box,layer4*=gamma:0.25,*=epsilon:1e-6". For each
// weighted node and each normalisation the first rule whose glob matches its path or scope; nodes
// without one, and all others, as with_defaults() has them. Rules are epsilon[:E], gamma[:G[:E]],
// z-plus[:E], alpha-beta:A:B[:E], z-box[:LOW:HIGH], flat and w-square; what is left out is that of
// `settings`, hyphens too. Throws a usage error that names the part at fault; the walk throws one
// where there are no rules, and where a glob takes no node.
Composite by_names(const LrpSettings& settings);

}  // namespace tapescope::explain
