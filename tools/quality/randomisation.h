// Model-parameter randomisation (Adebayo et al. 2018, arXiv 1810.03292): a map that stays as it was
// when the parameters are random does not show what the model has learned.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "layers/module.h"
#include "tools/quality/map_metrics.h"

namespace tapescope::quality {

// The layers with parameters, "conv1", the one nearest the output first.
std::vector<std::string> layers_from_output(const Classifier& model);

// A copy of the model in which the first `count` of layers_from_output have other initial values.
// The running statistics there are those of an untrained model. On the CPU, whatever device the
// model is on.
std::unique_ptr<Classifier> with_random_layers(const Classifier& model, std::uint64_t seed,
                                               std::size_t count);
// The same for `share` of the layers, at least one: 1 is the whole model.
std::unique_ptr<Classifier> randomised(const Classifier& model, std::uint64_t seed,
                                       double share = 1);

// Spearman's rank correlation of the sizes of two maps' values: 1 where nothing has changed.
double similarity(const Map& a, const Map& b);

// Cascading randomisation: layer after layer from the output down, each random as well as all
// before it, and how alike the maps still are.
struct CascadeStep {
  std::string layer;               // the one that became random at this step
  std::vector<double> similarity;  // one per map
};
// `of_model` makes the maps, in the order of `own`, with the model of each step.
using MapsOfModel = std::function<std::vector<Map>(std::unique_ptr<Classifier> model)>;
std::vector<CascadeStep> cascade(const Classifier& model, std::uint64_t seed,
                                 const std::vector<Map>& own, const MapsOfModel& of_model);

}  // namespace tapescope::quality
