// How pictures are made ready for weights that were learnt elsewhere.
#pragma once

#include <filesystem>
#include <string>

#include "tools/data/transforms.h"
#include "tools/training/weights_file.h"

namespace tapescope {

// A pipeline by name or as its JSON: "imagenet" is torchvision's for its ImageNet weights (shorter
// side to 256, the middle 224, mean and deviation of ImageNet). Throws a usage error for anything
// else, and where a picture would not become a square, or is changed at random.
Pipeline preprocessing_from(const std::string& text);

// The pipeline that a weights file says it wants (metadata "tapescope.pipeline"), as JSON; empty
// where it says nothing.
std::string preprocessing_of(const WeightsFile& file);

// Height and width of what the pipeline gives.
int side_of(const Pipeline& pipeline);
// The same for inputs of another size: every size in proportion.
Pipeline rescaled(const Pipeline& pipeline, int side);
Normalize normalization_of(const Pipeline& pipeline);

}  // namespace tapescope
