// Model-parameter randomisation (Adebayo et al. 2018, arXiv 1810.03292): a map that stays as it was
// when the parameters are random does not show what the model has learned.
#pragma once

#include <memory>

#include "layers/module.h"

namespace tapescope::quality {

// A copy of the model in which `share` of the layers with parameters, counted from the output, have
// other initial values: 1 is the whole model, 0.5 the half nearest the output (cascading
// randomisation); at least one layer. The running statistics there are those of an untrained model.
// On the CPU, whatever device the model is on.
std::unique_ptr<Classifier> randomised(const Classifier& model, std::uint64_t seed,
                                       double share = 1);

}  // namespace tapescope::quality
