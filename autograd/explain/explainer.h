// Explanations by name, for a model that is recorded once and answered for any picture.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/program/program.h"

namespace tapescope::explain {

// One explanation of a batch of images.
struct Attribution {
  std::string method;
  std::string node;  // the path of what was explained: the input or a feature map
  Tensor map;        // f32 {N,H,W,C} over the input, or {N,h,w,1} over a feature map; signed, raw
  Tensor value;      // f32 {N}: the target
  // f32 {N}: target (minus target at the baseline, for path methods) minus the sum of the map, for
  // methods that promise the two are equal. Undefined where there is no such promise.
  Tensor residual;
  // f32 {N}: for path methods, the largest change of any element between a third of the steps and
  // all of them. Undefined elsewhere.
  Tensor error_estimate;
  double forward_passes =
      0;  // cost per image, in forward passes (an input gradient costs one more)
};

struct ExplainOptions {
  std::string layer;    // feature map for CAM methods; empty: the last one
  int steps = 51;       // integrated gradients; a multiple of 3
  double budget = 500;  // most forward passes per image: steps are cut to fit
  Tensor baseline;      // f32 {H,W,C}: where paths start, DeepLIFT's reference; undefined: zeros
};

// What every method needs of a model.
struct Recorded {
  Var image;   // the input, f32 {N,H,W,C}
  Var logits;  // {N,classes}
};

class Explainer {
 public:
  // `record` runs the model on the tape it is given, on `image`, and returns the logits.
  using Record = std::function<Var(Tape& tape, Var image)>;
  Explainer(Record record, Shape image_shape, Device device = Device::cpu(),
            KernelChoices kernels = {});
  ~Explainer();

  static const std::vector<std::string_view>& methods();

  // image f32 {N,H,W,C}, classes i64 {N}. Throws a usage error for an unknown method, a missing
  // layer, or a method that the model does not admit (CAM on a net with a hidden layer after its
  // feature maps).
  Attribution explain(std::string_view method, const Tensor& image, const Tensor& classes,
                      const ExplainOptions& options = {});
  // logits {N,classes}.
  Tensor logits(const Tensor& image);

 private:
  struct Method;
  Method& prepared(std::string_view method, const std::string& layer);
  Tensor baseline_of(const ExplainOptions& options) const;  // f32 {1,H,W,C}
  Attribution integrated_gradients(Method& method, const Tensor& image, const Tensor& classes,
                                   const ExplainOptions& options);

  Record record_;
  Shape image_shape_;
  Device device_;
  KernelChoices kernels_;
  std::map<std::string, std::unique_ptr<Method>> prepared_;
};

}  // namespace tapescope::explain
