// What explanations compare a picture with, by name.
#pragma once

#include <string>
#include <vector>

#include "tools/training/picture.h"

namespace tapescope {

// "black", "white" and "noise" (uniform, each pixel on its own) go through the model's pipeline;
// "mean" is each channel's mean over the picture, "blur" the picture through a Gaussian whose
// deviation is an eighth of its shorter side; "zero" is the model's input 0, which is the data's
// mean colour where the pipeline normalises. Several with commas.
// f32 {1,H,W,C} each. Throws a usage error that lists the names.
std::vector<Tensor> baselines(const std::string& names, const Picture& picture,
                              const Preprocess& preprocess, std::uint64_t seed);

}  // namespace tapescope
