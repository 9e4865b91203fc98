#include "tools/quality/randomisation.h"

#include <algorithm>
#include <cmath>

#include "engine/philox.h"
#include "layers/models/zoo.h"

namespace tapescope::quality {
namespace {

// "layer1.0.conv1" of "layer1.0.conv1.weight".
std::string layer_of(const std::string& parameter) {
  return parameter.substr(0, parameter.rfind('.'));
}

}  // namespace

std::unique_ptr<Classifier> randomised(const Classifier& model, std::uint64_t seed, double share) {
  ModelConfig config = model.config();
  config.seed = mix(config.seed, seed + 1);
  std::unique_ptr<Classifier> result = make_model(config);
  const std::vector<ParameterRef> trained = model.parameters(), fresh = result->parameters();
  std::vector<std::string> layers;
  for (const ParameterRef& p : trained) {
    if (layers.empty() || layers.back() != layer_of(p->name)) layers.push_back(layer_of(p->name));
  }
  const auto total = static_cast<std::ptrdiff_t>(layers.size());
  const std::ptrdiff_t count =
      std::clamp<std::ptrdiff_t>(std::lround(share * static_cast<double>(total)), 1, total);
  const auto first_random = layers.end() - count;
  for (std::size_t i = 0; i < trained.size(); ++i) {
    if (std::find(first_random, layers.end(), layer_of(trained[i]->name)) != layers.end()) continue;
    fresh[i]->value.copy_from(trained[i]->value);
    fresh[i]->changed();
  }
  return result;
}

}  // namespace tapescope::quality
