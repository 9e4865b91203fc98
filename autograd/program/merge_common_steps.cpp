// Common subexpressions: a step that does what one before it does, of the same values, is that one.
#include <map>

#include "autograd/program/passes.h"

namespace tapescope {

void merge_common_steps(Rewriter& r) {
  std::map<std::pair<std::string, std::vector<int>>, int> first;
  for (int s = 0; s < r.steps(); ++s) {
    const auto [found, fresh] = first.try_emplace({describe(*r.step(s).op), r.step(s).operands}, s);
    if (fresh) continue;
    const std::vector<int> own = r.step(s).outputs, other = r.step(found->second).outputs;
    for (std::size_t i = 0; i < own.size(); ++i) r.substitute(own[i], other[i]);
  }
}

}  // namespace tapescope
