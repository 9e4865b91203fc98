// A node's values and gradients for many pictures: what concepts and likenesses are read from.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "autograd/explain/explainer.h"
#include "autograd/program/program.h"

namespace tapescope::explain {

class LayerReader {
 public:
  // `record` runs the model on {N,H,W,C} and returns the logits. `layer`: path of a node; empty:
  // the last feature map. Throws a usage error that lists near names where there is no such node.
  LayerReader(const Explainer::Record& record, const Shape& image_shape, const std::string& layer,
              const Backend& backend);
  const std::string& node() const { return node_; }
  Tensor values(const Tensor& images);  // f32 {N,...}, the node's shape
  // Of each image's logit of its class (i64 {N}), with respect to the node.
  Tensor gradient(const Tensor& images, const Tensor& classes);

 private:
  std::string node_;
  std::unique_ptr<Program> values_, gradient_;
};

}  // namespace tapescope::explain
