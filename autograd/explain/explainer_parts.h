// What the sources of Explainer share.
#pragma once

#include "autograd/explain/cam.h"
#include "autograd/explain/explainer.h"
#include "autograd/tape.h"

namespace tapescope::explain {

// A model on its tape, before a method's nodes are appended.
struct Explainer::Recording {
  Tape& tape;
  Var image, index, logits, target;
  std::string layer;  // as asked for
  std::string node;   // what the map is over; set by the method where it is not the image
  std::vector<Var> cuts = {};

  // The node asked for, or the last feature map.
  Var at_layer() {
    const Var var = layer.empty() ? last_feature_map(tape, target, image) : tape.find(layer);
    node = var.path();
    return var;
  }
};

// A compiled method; the tape is gone, the paths of its nodes are kept.
struct Explainer::Prepared {
  std::string node;
  std::string input;  // what the points of `gradients` are fed to: the image, or the node cut at
  Program program;
  double macs = 0;
};

struct Explainer::Request {
  std::string_view method;
  const Tensor& image;
  const Tensor& classes;
  const ExplainOptions& options;
};

// f32 {N}: target minus the sum of each sample's map.
inline Tensor residual_of(const Tensor& target, const Tensor& map) {
  Tensor residual(Type{DType::f32, target.shape()});
  for (std::int64_t n = 0; n < target.elements(); ++n) {
    double sum = 0;
    for (float value : map.rows(n, n + 1).values<float>()) sum += value;
    residual.values<float>()[static_cast<std::size_t>(n)] =
        static_cast<float>(target.item(n) - sum);
  }
  return residual;
}

// What the budget cut.
inline std::string cut_to(std::int64_t taken, std::int64_t asked, std::string_view what) {
  return fmt::format("{} of {} {}, what --budget pays for", taken, asked, what);
}

// `part` of `whole` added to it: the mean of `count` of them in the end.
inline void add_share(Tensor& whole, const Tensor& part, double share) {
  if (!whole.defined()) whole = Tensor::zeros(part.type());
  const auto from = part.values<float>();
  for (std::size_t i = 0; i < from.size(); ++i) {
    whole.values<float>()[i] += static_cast<float>(share * from[i]);
  }
}

}  // namespace tapescope::explain
