#include "autograd/program/fuse.h"

#include <algorithm>
#include <unordered_set>

#include "autograd/ops/fused.h"
#include "autograd/program/fused_ops.h"

namespace tapescope {
namespace {

class Fusion {
 public:
  Fusion(std::span<const Node* const> nodes, std::span<const Var> kept,
         FunctionRef<bool(const Var&)> given)
      : given_(given) {
    for (const Node* node : nodes) {
      computed_.insert(node);
      for (const Var& operand : node->operands()) readers_[operand.node].push_back(node);
    }
    for (const Var& var : kept) readers_[var.node].push_back(nullptr);
    kept_ = kept;
    for (const Node* node : nodes) {
      if (const auto fused = dropout_of_relu(node->op)) dropout(*node, *fused);
      if (node->op->name() != "relu") continue;
      normalised_relu(*node);
      if (!result_.same.contains(node)) pooled_relu(*node);
    }
  }
  Fused take() { return std::move(result_); }

 private:
  // Whether the Program computes it: it is no input, and no value taken over from the tape.
  bool computed(const Var& var, std::string_view op) const {
    return var.node->op->name() == op && computed_.contains(var.node) && !given_(var);
  }
  bool asked_for(const Var& var) const {
    return std::find(kept_.begin(), kept_.end(), var) != kept_.end();
  }
  // Whether `nodes` alone read this output.
  bool read_only_by(const Var& var, std::span<const Node* const> nodes) {
    const std::vector<const Node*>& readers = readers_[var.node];
    return !asked_for(var) && std::all_of(readers.begin(), readers.end(), [&](const Node* reader) {
      return reader == nullptr || !reads(*reader, var) || is_in(nodes, reader);
    });
  }
  bool read_only_by(const Var& var, const Node& node) {
    const Node* const one[] = {&node};
    return read_only_by(var, one);
  }
  static bool is_in(std::span<const Node* const> nodes, const Node* node) {
    return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
  }
  static bool reads(const Node& node, const Var& var) {
    const auto operands = node.operands();
    return std::find(operands.begin(), operands.end(), var) != operands.end();
  }

  void dropout(const Node& drop, const ReluDropout& fused) {
    const Var rectified = drop.operand_data[0];
    if (!computed(rectified, "relu") || result_.same.contains(rectified.node)) return;
    std::vector<const Node*> masks;
    for (const Node* reader : readers_[rectified.node]) {
      if (reader == &drop) continue;
      if (reader == nullptr || !masks_dropout(*reader, rectified, drop)) return;
      masks.push_back(reader);
    }
    result_.replaced[&drop] = {fused.forward,
                               {rectified.node->operand_data[0], drop.operand_data[1]}};
    for (const Node* mask : masks) {
      const Var back = mask->operand_data[0];
      result_.replaced[back.node] = {fused.backward, {back.node->operand_data[0]}};
      result_.replaced[mask] = {mask->op, {back, drop.out()}};
    }
  }
  // Whether the node is relu's vector-Jacobian product of the dropout's.
  bool masks_dropout(const Node& mask, const Var& rectified, const Node& drop) {
    const Var back = mask.operand_data[0];
    return mask.op->name() == "mask_positive" && mask.operand_data[1] == rectified &&
           back.node->index > drop.index && computed(back, drop.op->name()) &&
           describe(*back.node->op) == describe(*drop.op) &&
           back.node->operand_data[1] == drop.operand_data[1] && readers_[back.node].size() == 1;
  }

  void normalised_relu(const Node& relu) {
    const Var summed = relu.operand_data[0];
    Var normalised = summed, branch{};
    if (computed(summed, "add")) {
      // The one that was recorded last is normalised where the other one is known.
      const Var *a = summed.node->operand_data, *b = a + 1;
      normalised = a->node->index > b->node->index ? *a : *b;
      branch = a->node->index > b->node->index ? *b : *a;
      if (!read_only_by(summed, relu) || a->type() != b->type() || a->node == b->node) return;
    }
    if (!computed(normalised, "batch_norm_training") || normalised.output != 0) return;
    // The sign of a sum rounded to bf16 is not always that of the sum.
    if (normalised.dtype() == DType::bf16) return;
    const Node& norm = *normalised.node;
    if (!read_only_by(normalised, branch ? *summed.node : relu)) return;
    const auto fused = relu_of_batch_norm(*norm.op, static_cast<bool>(branch));
    std::vector<Var> operands(norm.operands().begin(), norm.operands().end());
    if (branch) operands.push_back(branch);
    result_.replaced[&norm] = {fused->forward, std::move(operands)};
    result_.same[&relu] = norm.out(0);
    for (const Node* reader : readers_[&relu]) {
      if (reader != nullptr) normalised_gradient(*reader, relu, norm, *fused, branch);
    }
  }
  void pooled_relu(const Node& relu) {
    const auto reads_relu = [&](const Node* reader, std::string_view op, std::size_t operand) {
      return reader != nullptr && reader->op->name() == op &&
             reader->operand_data[operand] == relu.out();
    };
    const std::vector<const Node*>& readers = readers_[&relu];
    const auto found = std::find_if(readers.begin(), readers.end(), [&](const Node* reader) {
      return reads_relu(reader, "max_pool2d", 0);
    });
    if (found == readers.end()) return;
    const Node& pool = **found;
    // Else relu is read, for its shape, by the pool's vector-Jacobian products, and by its own of
    // those.
    std::vector<const Node*> scatters, masks;
    for (const Node* reader : readers) {
      if (reader == &pool) continue;
      if (reads_relu(reader, "max_pool2d_scatter", 2) && reader->operand_data[1] == pool.out(1)) {
        scatters.push_back(reader);
      } else if (reads_relu(reader, "mask_positive", 1)) {
        masks.push_back(reader);
      } else {
        return;
      }
    }
    if (!read_only_by(pool.out(1), scatters)) return;
    for (const Node* scatter : scatters) {
      if (!read_only_by(scatter->out(), masks)) return;
    }
    for (const Node* mask : masks) {
      if (!is_in(scatters, mask->operand_data[0].node)) return;
    }
    result_.replaced[&pool] = {max_pool2d_of_relu(pool.op), {relu.operand_data[0]}};
    for (const Node* scatter : scatters) {
      std::vector<Var> operands(scatter->operands().begin(), scatter->operands().end());
      operands[2] = relu.operand_data[0];
      result_.replaced[scatter] = {scatter->op, std::move(operands)};
    }
    for (const Node* mask : masks) result_.same[mask] = mask->operand_data[0];
  }

  // mask: relu's vector-Jacobian product; what reads it: that of the normalisation.
  void normalised_gradient(const Node& mask, const Node& relu, const Node& norm,
                           const BatchNormRelu& fused, const Var& branch) {
    if (mask.op->name() != "mask_positive" || mask.operand_data[1] != relu.out()) return;
    const auto is_gradient = [&](const Node* reader) {
      return reader != nullptr && reader->op->name() == "batch_norm_gradient" &&
             reader->operand_data[0] == mask.out() &&
             reader->operand_data[1] == norm.operand_data[0] &&
             reader->operand_data[2] == norm.out(1);
    };
    const std::vector<const Node*>& readers = readers_[&mask];
    const auto found = std::find_if(readers.begin(), readers.end(), is_gradient);
    if (found == readers.end()) return;
    const Node& gradient = **found;
    // Without a branch nobody else may read the masked cotangent; with one it is the branch's, and
    // is known from here on.
    const bool in_order = std::all_of(readers.begin(), readers.end(), [&](const Node* reader) {
      return reader == &gradient ||
             (branch && (reader == nullptr || reader->index > gradient.index));
    });
    if (!in_order) return;
    std::vector<Var> operands(gradient.operands().begin(), gradient.operands().end());
    operands[0] = mask.operand_data[0];
    if (branch) {
      operands.push_back(norm.out(0));
      result_.same[&mask] = {const_cast<Node*>(&gradient), 3};
    } else {
      operands.push_back({const_cast<Node*>(&norm), 3});
      operands.push_back({const_cast<Node*>(&norm), 4});
    }
    result_.replaced[&gradient] = {fused.backward, std::move(operands)};
  }

  FunctionRef<bool(const Var&)> given_;
  std::span<const Var> kept_;
  std::unordered_set<const Node*> computed_;
  std::unordered_map<const Node*, std::vector<const Node*>> readers_;  // null: the caller
  Fused result_;
};

}  // namespace

Fused fuse(std::span<const Node* const> nodes, std::span<const Var> kept,
           FunctionRef<bool(const Var&)> given) {
  return Fusion(nodes, kept, given).take();
}

}  // namespace tapescope
