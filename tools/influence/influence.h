// Training examples that speak for an answer: by what they taught, or by being alike.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "autograd/explain/layer_reader.h"
#include "tools/data/sample_source.h"
#include "tools/training/classifier_file.h"

namespace tapescope {

// A checkpoint that a run kept of an epoch, with the mean learning rate of that epoch's steps.
struct KeptCheckpoint {
  std::filesystem::path path;
  std::int64_t epoch = 0;
  double rate = 0;
};
// Throws a usage error where the run kept none (`train --keep-checkpoints N`), or has no history to
// read the rates from.
std::vector<KeptCheckpoint> kept_checkpoints(const std::filesystem::path& run);

// What is explained: an input f32 {1,H,W,C} and the class it is given.
struct Question {
  Tensor input;
  std::int64_t label = 0;
};

// Told how much is done, from 0 to 1.
using Done = std::function<void(double share)>;

// TracIn of every example for every question: {questions, examples}, in the order of `examples`,
// which are positions in `source`. `parameters`: a glob of parameter names; empty: those of the
// last layer, whose gradients cost one forward pass and are the paper's choice where all would be
// too many ("TracIn Last"). Examples are taken without augmentation.
std::vector<std::vector<double>> tracin(const std::vector<KeptCheckpoint>& checkpoints,
                                        const std::vector<Question>& questions,
                                        const ImageSource& source,
                                        const std::vector<std::int64_t>& examples,
                                        const std::string& parameters, const Backend& backend,
                                        const Done& done = {});

// Cosine similarity at a node, feature maps averaged over their positions: {questions, examples}.
std::vector<std::vector<double>> likeness(explain::LayerReader& reader,
                                          const std::vector<Question>& questions,
                                          const ImageSource& source,
                                          const std::vector<std::int64_t>& examples,
                                          const Done& done = {});

// A node's values of one picture, flattened; of a feature map the mean over its positions.
std::vector<float> features_of(const Tensor& values);

}  // namespace tapescope
