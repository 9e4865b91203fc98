// Explanations by name, for a model that is recorded once and answered for any picture.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/explain/methods.h"
#include "autograd/explain/path_methods.h"
#include "autograd/explain/segments.h"
#include "autograd/tape.h"

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
  // f32 {N}: for methods that average, how far the largest element may be off: see path_methods.h.
  // NaN where too little was drawn to tell. Undefined where nothing is averaged.
  Tensor error_estimate;
  std::string note;  // what the budget cut: "498 of 512 channels"; empty: nothing
  // Cost per image: multiply-adds of convolutions and matrix products of all that ran, in those of
  // one forward pass to the target.
  double forward_passes = 0;
};

struct ExplainOptions {
  std::string layer;                   // node the layer methods look at; empty: the last
                                       // feature map. What goes around it (a shortcut) stays the
                                       // picture's where the node is changed
  PathRule rule = PathRule::midpoint;  // of integrated gradients
  int steps = 51;                      // on a path
  int draws = 50;                      // of sampling methods
  double noise = 0.15;                 // SmoothGrad's, as a share of each picture's range
  double budget = 500;                 // most forward passes a map: steps and draws are cut
  std::uint64_t seed = 0;              // of what is drawn
  int chunk = 8;                       // points in one run; the result does not depend on it
  int window = 0, stride = 0;          // of occlusion, in pixels; 0: an eighth of the shorter
                                       // side, and half a window or what the budget allows
  LrpSettings lrp;                     // of the methods lrp-...
  int grid = 8;                        // features of ablation, Shapley, LIME: grid x grid cells,
  Segments segments;                   // or these, where there are any
  // f32 {H,W,C} or {N,H,W,C} each: where paths start, DeepLIFT's references; none: zeros. Methods
  // that take one baseline average over several.
  std::vector<Tensor> baselines;
};

class Explainer {
 public:
  // `record` runs the model on the tape it is given, on `image`, and returns the logits.
  using Record = std::function<Var(Tape& tape, Var image)>;
  Explainer(Record record, Shape image_shape, const Backend& backend = {});
  ~Explainer();

  // The names of all_methods().
  static const std::vector<std::string_view>& methods();

  // image f32 {N,H,W,C}, classes i64 {N}. Throws a usage error for an unknown method, a missing
  // layer, or a method that the model does not admit (CAM on a net with a hidden layer after its
  // feature maps).
  Attribution explain(std::string_view method, const Tensor& image, const Tensor& classes,
                      const ExplainOptions& options = {});
  // logits {N,classes}.
  Tensor logits(const Tensor& image);
  // The path of the first value on the way to the target that is not finite; empty: all are.
  std::string first_non_finite(const Tensor& image, const Tensor& classes);

 private:
  std::unique_ptr<struct Programs> programs_;
};

}  // namespace tapescope::explain
