#include "tools/quality/randomisation.h"

#include <algorithm>
#include <cmath>

#include "engine/hash.h"
#include "layers/models/zoo.h"

namespace tapescope::quality {
namespace {

// "layer1.0.conv1" of "layer1.0.conv1.weight".
std::string layer_of(const std::string& parameter) {
  return parameter.substr(0, parameter.rfind('.'));
}

std::vector<float> sizes_of(const Map& map) {
  std::vector<float> sizes(map.values.begin(), map.values.end());
  for (float& v : sizes) v = std::abs(v);
  return sizes;
}

}  // namespace

std::vector<std::string> layers_from_output(const Classifier& model) {
  std::vector<std::string> layers;
  for (const ParameterRef& p : model.parameters()) {
    if (layers.empty() || layers.back() != layer_of(p->name)) layers.push_back(layer_of(p->name));
  }
  std::reverse(layers.begin(), layers.end());
  return layers;
}

std::unique_ptr<Classifier> with_random_layers(const Classifier& model, std::uint64_t seed,
                                               std::size_t count) {
  ModelConfig config = model.config();
  config.seed = mix(config.seed, seed + 1);
  std::unique_ptr<Classifier> result = model.redrawn(config.seed);
  if (!result) result = make_model(config);
  const std::vector<std::string> layers = layers_from_output(model);
  const auto end = layers.begin() + static_cast<std::ptrdiff_t>(std::min(count, layers.size()));
  const std::vector<ParameterRef> trained = model.parameters(), fresh = result->parameters();
  for (std::size_t i = 0; i < trained.size(); ++i) {
    if (std::find(layers.begin(), end, layer_of(trained[i]->name)) != end) continue;
    fresh[i]->value.copy_from(trained[i]->value);
    fresh[i]->changed();
  }
  return result;
}

std::unique_ptr<Classifier> randomised(const Classifier& model, std::uint64_t seed, double share) {
  const auto total = static_cast<long>(layers_from_output(model).size());
  const long count = std::clamp<long>(std::lround(share * static_cast<double>(total)), 1, total);
  return with_random_layers(model, seed, static_cast<std::size_t>(count));
}

double similarity(const Map& a, const Map& b) { return rank_correlation(sizes_of(a), sizes_of(b)); }

std::vector<CascadeStep> cascade(const Classifier& model, std::uint64_t seed,
                                 const std::vector<Map>& own, const MapsOfModel& of_model) {
  std::vector<CascadeStep> steps;
  for (const std::string& layer : layers_from_output(model)) {
    const std::vector<Map> maps = of_model(with_random_layers(model, seed, steps.size() + 1));
    CascadeStep& step = steps.emplace_back(CascadeStep{layer, {}});
    for (std::size_t i = 0; i < own.size(); ++i) {
      step.similarity.push_back(similarity(own[i], maps[i]));
    }
  }
  return steps;
}

}  // namespace tapescope::quality
