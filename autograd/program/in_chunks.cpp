// A sum over the rows of a batch as a balanced tree over its pieces.
#include <algorithm>
#include <array>

#include "autograd/ops/fused.h"
#include "autograd/program/share.h"
#include "autograd/program/share_batch.h"
#include "engine/runtime.h"
#include "kernels/elementwise/elementwise.h"

namespace tapescope {
namespace {

// What every buffer is aligned to.
std::size_t padded_bytes(std::size_t bytes) { return (bytes + 255) / 256 * 256; }
std::size_t row_bytes(const Type& type) {
  return static_cast<std::size_t>(type.shape.elements(1, type.shape.rank())) * size_of(type.dtype);
}

// The prepared pieces.
class Tree {
 public:
  Tree(const Op& op, std::span<const Type> operands, std::span<const Type> outputs, int chunks,
       const std::vector<bool>& split_operands, const std::vector<bool>& split_outputs,
       const Backend& backend)
      : runtime_(DeviceRuntime::of(backend.device)) {
    std::int64_t rows = -1;
    for (std::size_t k = 0; k < operands.size(); ++k) {
      in_rows_.push_back(split_operands[k] ? row_bytes(operands[k]) : 0);
      if (split_operands[k] && rows < 0) rows = operands[k].shape[0];
    }
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      out_rows_.push_back(split_outputs[k] ? row_bytes(outputs[k]) : 0);
      Sum sum;
      if (!split_outputs[k]) {
        sum.bytes = outputs[k].bytes();
        const Shape flat = {outputs[k].elements()};
        if (chunks > 1) {
          sum.add = prepare_from(binary_variants(), {outputs[k].dtype, Binary::add, flat, flat},
                                 outputs[k].dtype, backend);
          sum_workspace_ = std::max(sum_workspace_, sum.add.workspace_bytes());
        }
        level_bytes_ += padded_bytes(sum.bytes);
      }
      sums_.push_back(std::move(sum));
    }
    for (int i = 0; i < chunks; ++i) {
      const RowRange piece = piece_of(rows, i, chunks);
      pieces_.push_back({piece, piece.count > 0 ? plan_for(op, operands, outputs, piece.count,
                                                           split_operands, split_outputs, backend)
                                                : -1});
    }
  }

  std::size_t workspace_bytes() const {
    const std::int64_t levels = piece_levels(std::ssize(pieces_)) - 1;
    return shared_workspace() + static_cast<std::size_t>(levels) * level_bytes_;
  }
  std::string_view variant() const { return plans_.empty() ? "nothing" : plans_[0].plan.variant(); }

  void run(const Queue& queue, const Buffers& b) const {
    const auto buffer = [&](int level, std::size_t output) -> void* {
      if (level == 0) return b.out[output];
      char* at = static_cast<char*>(b.workspace) + shared_workspace() +
                 static_cast<std::size_t>(level - 1) * level_bytes_;
      for (std::size_t k = 0; k < output; ++k) at += padded_bytes(sums_[k].bytes);
      return at;
    };
    const auto make = [&](std::int64_t piece, int level) {
      Outputs to{};
      for (std::size_t k = 0; k < sums_.size(); ++k) to[k] = buffer(level, k);
      run_piece(queue, b, pieces_[static_cast<std::size_t>(piece)], to);
    };
    sum_pieces(std::ssize(pieces_), make, [&](int to, int from) {
      for (std::size_t k = 0; k < sums_.size(); ++k) {
        if (sums_[k].bytes == 0) continue;
        const void* const in[] = {buffer(to, k), buffer(from, k), nullptr};
        void* const out[] = {buffer(to, k), nullptr};
        sums_[k].add.run(queue, {in, out, b.workspace});
      }
    });
  }

 private:
  struct Sum {
    Plan add;
    std::size_t bytes = 0;  // 0: the output is split
  };
  struct Piece {
    RowRange rows;
    int plan;  // -1: there are none
  };
  struct Prepared {
    std::int64_t rows;
    Plan plan;
  };
  using Outputs = std::array<void*, Types::kCapacity>;
  std::size_t shared_workspace() const {
    return padded_bytes(std::max(own_workspace_, sum_workspace_));
  }

  int plan_for(const Op& op, std::span<const Type> operands, std::span<const Type> outputs,
               std::int64_t rows, const std::vector<bool>& split_operands,
               const std::vector<bool>& split_outputs, const Backend& backend) {
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      if (plans_[i].rows == rows) return static_cast<int>(i);
    }
    const auto with_rows = [&](std::span<const Type> types, const std::vector<bool>& split) {
      std::vector<Type> result(types.begin(), types.end());
      for (std::size_t k = 0; k < result.size(); ++k) {
        if (split[k]) result[k].shape[0] = rows;
      }
      return result;
    };
    plans_.push_back({rows, op.prepare(with_rows(operands, split_operands),
                                       with_rows(outputs, split_outputs), backend)});
    own_workspace_ = std::max(own_workspace_, plans_.back().plan.workspace_bytes());
    return static_cast<int>(plans_.size()) - 1;
  }

  void run_piece(const Queue& queue, const Buffers& b, const Piece& piece,
                 const Outputs& to) const {
    if (piece.plan < 0) {
      for (std::size_t k = 0; k < sums_.size(); ++k) {
        if (sums_[k].bytes > 0) runtime_.fill_zero(to[k], sums_[k].bytes, queue);
      }
      return;
    }
    const auto first = static_cast<std::size_t>(piece.rows.first);
    std::array<const void*, kMostOperands + 1> in{};
    for (std::size_t k = 0; k < in_rows_.size(); ++k) {
      in[k] = static_cast<const char*>(b.in[k]) + first * in_rows_[k];
    }
    Outputs out{};
    for (std::size_t k = 0; k < sums_.size(); ++k) {
      out[k] = sums_[k].bytes > 0 ? to[k] : static_cast<char*>(b.out[k]) + first * out_rows_[k];
    }
    plans_[static_cast<std::size_t>(piece.plan)].plan.run(queue,
                                                          {in.data(), out.data(), b.workspace});
  }

  DeviceRuntime& runtime_;
  std::vector<std::size_t> in_rows_, out_rows_;  // bytes of a row; 0: not split
  std::vector<Sum> sums_;                        // by output
  std::vector<Piece> pieces_;
  std::vector<Prepared> plans_;  // pieces have at most two lengths, and none
  std::size_t own_workspace_ = 0, sum_workspace_ = 0, level_bytes_ = 0;
};

// A gradient of weights over pieces, by a kernel that keeps partial sums in cache:
// kernels/common/pieces.h. An empty plan where the one that is preferred is none such.
Plan by_pieces(const Op& op, std::span<const Type> operands, int pieces, const Backend& backend) {
  if (backend.device.kind != DeviceKind::cpu) return Plan();
  if (std::optional<Conv2dShape> conv = shape_of_weight_gradient(op, operands)) {
    conv->pieces = pieces;
    return prepare_from(conv2d_weight_gradient_variants(), *conv, conv->dtype, backend);
  }
  std::optional<MatmulShape> product = shape_of_matmul(op, operands);
  const bool adds = product && product->transpose_a && !product->bias &&
                    (product->wide || product->dtype == DType::f32);
  if (!adds || backend.choices.contains("matmul")) return Plan();
  product->pieces = pieces;
  return prepare_from(matmul_variants(), *product, product->dtype, backend);
}

class InChunks final : public Op {
 public:
  InChunks(OpRef op, int chunks, std::vector<bool> split_operands, std::vector<bool> split_outputs)
      : op_(std::move(op)),
        chunks_(chunks),
        split_operands_(std::move(split_operands)),
        split_outputs_(std::move(split_outputs)) {}
  std::string_view name() const override { return op_->name(); }
  void attributes(AttributeVisitor& v) const override {
    op_->attributes(v);
    v.visit("chunks", std::int64_t{chunks_});
  }
  Types infer(std::span<const Type> t) const override { return op_->infer(t); }
  Plan prepare(std::span<const Type> t, std::span<const Type> outputs,
               const Backend& backend) const override {
    if (rows_of(t) > 0) {
      if (Plan plan = by_pieces(*op_, t, chunks_, backend)) return plan;
    }
    auto tree = std::make_shared<const Tree>(*op_, t, outputs, chunks_, split_operands_,
                                             split_outputs_, backend);
    const Tree& made = *tree;
    return Plan(
        made.variant(), made.workspace_bytes(),
        [tree = std::move(tree)](const Queue& queue, const Buffers& b) { tree->run(queue, b); });
  }
  void vjp(Vjp&) const override {}  // put in the place of an op when all gradients are recorded
  Role role(int operand) const override { return op_->role(operand); }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return op_->cost(t, outputs);
  }
  Footprint footprint() const override { return op_->footprint(); }
  bool rows_independent() const override { return false; }
  // Each piece is read before it is written.
  bool may_overwrite(int operand, int output) const override {
    const auto k = static_cast<std::size_t>(operand), i = static_cast<std::size_t>(output);
    return split_operands_[k] && split_outputs_[i] && op_->may_overwrite(operand, output);
  }

 private:
  std::int64_t rows_of(std::span<const Type> t) const {
    for (std::size_t k = 0; k < t.size(); ++k) {
      if (split_operands_[k]) return t[k].shape[0];
    }
    return 0;
  }
  OpRef op_;
  int chunks_;
  std::vector<bool> split_operands_, split_outputs_;
};

}  // namespace

OpRef in_chunks(OpRef op, int chunks, std::vector<bool> split_operands,
                std::vector<bool> split_outputs) {
  return std::make_shared<InChunks>(std::move(op), chunks, std::move(split_operands),
                                    std::move(split_outputs));
}

}  // namespace tapescope
