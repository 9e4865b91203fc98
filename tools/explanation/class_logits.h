// A net that gives each class a number, as explanations ask it.
#pragma once

#include <string>
#include <vector>

#include "autograd/explain/explainer.h"
#include "tools/training/picture.h"

namespace tapescope {

// The record's net outlives it.
struct ClassLogits {
  explain::Explainer::Record record;  // f32 {N,H,W,C} -> logits {N,K}
  Preprocess preprocess;
  std::vector<std::string> classes;  // K names
  // Of logits {1,K}, on the host: one per class.
  std::vector<double> (*probabilities)(const Tensor& logits) = nullptr;
};

}  // namespace tapescope
