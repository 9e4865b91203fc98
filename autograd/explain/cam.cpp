#include "autograd/explain/cam.h"

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "autograd/walk.h"

namespace tapescope::explain {
namespace {

// By index: whether the node lies on a way from `from` to `to`, both included.
std::vector<bool> between(Tape& tape, Var from, Var to) {
  const Var wrt[] = {from};
  std::vector<bool> on_way = depends_on(tape, wrt);
  std::vector<bool> reaches(on_way.size(), false);
  reaches[to.node->index] = true;
  for (std::size_t i = on_way.size(); i-- > 0;) {
    if (!reaches[i]) continue;
    const Node& node = *tape.nodes()[i];
    for (int k = 0; k < node.operand_count; ++k) {
      if (passes(node.op->role(k))) reaches[node.operand_data[k].node->index] = true;
    }
  }
  for (std::size_t i = 0; i < on_way.size(); ++i) on_way[i] = on_way[i] && reaches[i];
  return on_way;
}

void require_feature_map(Var feature_map, std::string_view method) {
  if (feature_map.shape().rank() != 4) {
    throw usage_error(
        "[{}] '{}' has shape {}; a class activation map needs a feature map "
        "{{N,h,w,K}}: give the path of a convolution or activation before the "
        "classifier",
        method, feature_map.path(), to_string(feature_map.shape()));
  }
}

constexpr int kChannels[] = {3};

}  // namespace

Var last_feature_map(Tape& tape, Var target, Var x) {
  const std::vector<bool> on_way = between(tape, x, target);
  for (std::size_t i = on_way.size(); i-- > 0;) {
    const Op& op = *tape.nodes()[i]->op;
    // A transposed image no longer has its channels last.
    if (!on_way[i] || op.is_leaf() || op.name() == "transpose") continue;
    const Var out = tape.nodes()[i]->out();
    if (out.shape().rank() == 4 && out.shape()[1] * out.shape()[2] > 1) return out;
  }
  throw usage_error(
      "the model has no feature map: no node between '{}' and '{}' has shape {{N,h,w,K}} with more "
      "than one position; use a gradient method instead",
      x.path(), target.path());
}

Var grad_cam(Tape& tape, Var target, Var feature_map) {
  require_evaluation(tape, "grad-cam");
  require_feature_map(feature_map, "grad-cam");
  const Var gradient = tape.gradient(target, {feature_map})[0];
  const Tape::Scope in(tape, "grad-cam");
  constexpr int kPositions[] = {1, 2};
  const Var weights = reduce_mean(gradient, kPositions);  // {N,1,1,K}
  return reduce_sum(mul(feature_map, weights), kChannels);
}

Var grad_cam(Tape& tape, Var target, std::string_view path) {
  return grad_cam(tape, target, tape.find(path));
}

Var cam(Tape& tape, Var target, Var feature_map) {
  require_evaluation(tape, "cam");
  require_feature_map(feature_map, "cam");
  const std::vector<bool> on_way = between(tape, feature_map, target);
  for (std::size_t i = 0; i < on_way.size(); ++i) {
    const Node& node = *tape.nodes()[i];
    if (!on_way[i] || &node == feature_map.node) continue;
    unsigned active = 0;
    for (int k = 0; k < node.operand_count; ++k) {
      if (on_way[node.operand_data[k].node->index]) active |= 1u << k;
    }
    const RelevanceClass kind = node.op->relevance_class(active);
    if (kind != RelevanceClass::linear && kind != RelevanceClass::routing) {
      throw usage_error(
          "[cam] '{}' lies between '{}' and the class score and is not linear; CAM is defined for "
          "a linear tail only (global mean, 1x1 convolution): use grad-cam",
          node.path(), feature_map.path());
    }
  }
  const Var gradient = tape.gradient(target, {feature_map})[0];
  const Tape::Scope in(tape, "cam");
  const double positions = static_cast<double>(feature_map.shape()[1] * feature_map.shape()[2]);
  return affine(reduce_sum(mul(feature_map, gradient), kChannels), positions);
}

}  // namespace tapescope::explain
