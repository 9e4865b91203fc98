#include "autograd/program/fuse.h"

#include <unordered_set>

#include "autograd/ops/fused.h"

namespace tapescope {
namespace {

class Fusion {
 public:
  Fusion(std::span<const Node* const> nodes, std::span<const Var> kept) {
    for (const Node* node : nodes) {
      computed_.insert(node);
      for (const Var& operand : node->operands()) readers_[operand.node].push_back(node);
    }
    for (const Var& var : kept) readers_[var.node].push_back(nullptr);
    for (const Node* node : nodes) {
      if (const auto fused = dropout_of_relu(*node->op)) try_dropout(*node, *fused);
    }
  }
  Replacements take() { return std::move(result_); }

 private:
  // Whether the Program computes it: it is no input, and no value taken over from the tape.
  bool computed(const Var& var, std::string_view op) const {
    return var.node->op->name() == op && computed_.contains(var.node);
  }

  void try_dropout(const Node& drop, const ReluDropout& fused) {
    const Var rectified = drop.operand_data[0];
    if (!computed(rectified, "relu")) return;
    std::vector<const Node*> masks;
    for (const Node* reader : readers_[rectified.node]) {
      if (reader == &drop) continue;
      if (reader == nullptr || !masks_gradient(*reader, rectified, drop)) return;
      masks.push_back(reader);
    }
    result_[&drop] = {fused.forward, {rectified.node->operand_data[0], drop.operand_data[1]}};
    for (const Node* mask : masks) {
      const Var back = mask->operand_data[0];
      result_[back.node] = {fused.backward, {back.node->operand_data[0]}};
      result_[mask] = {mask->op, {back, drop.out()}};
    }
  }

  // Whether the node is relu's vector-Jacobian product of the dropout's.
  bool masks_gradient(const Node& mask, const Var& rectified, const Node& drop) {
    const Var back = mask.operand_data[0];
    return mask.op->name() == "mask_positive" && mask.operand_data[1] == rectified &&
           back.node->index > drop.index && computed(back, drop.op->name()) &&
           describe(*back.node->op) == describe(*drop.op) &&
           back.node->operand_data[1] == drop.operand_data[1] && readers_[back.node].size() == 1;
  }

  std::unordered_set<const Node*> computed_;
  std::unordered_map<const Node*, std::vector<const Node*>> readers_;  // null: the caller
  Replacements result_;
};

}  // namespace

Replacements fuse(std::span<const Node* const> nodes, std::span<const Var> kept) {
  return Fusion(nodes, kept).take();
}

}  // namespace tapescope
