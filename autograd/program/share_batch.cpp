#include "autograd/program/share_batch.h"

#include <algorithm>

#include "autograd/ops/fused.h"
#include "autograd/ops/ops.h"
#include "autograd/program/buckets.h"
#include "kernels/collectives/communicator.h"

namespace tapescope {
namespace {

class Sharing {
 public:
  Sharing(LoweredProgram& program, const Backend& backend, const CompileOptions& options)
      : program_(program),
        backend_(backend),
        chunks_(options.chunks),
        ranks_(options.ranks),
        bucket_bytes_(options.bucket_bytes) {
    const std::int64_t rows = recorded_rows(program_);
    for (const Value& value : program_.values) {
      const Shape& shape = value.type.shape;
      split_.push_back(value.kind == Value::Kind::input && shape.rank() > 0 && shape[0] == rows);
    }
  }

  // False where a step cannot be cut, which only one process may live with.
  bool run() {
    for (Step& step : std::exchange(program_.steps, {})) place(std::move(step));
    if (ranks_ != nullptr) {
      sum_in_buckets(program_, *ranks_, split_, bucket_bytes_, backend_.device);
    }
    return !whole_;
  }

 private:
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }
  // Steps are placed in order, so what they read has its kind.
  void place(Step step) {
    const auto is_split = [&](int value) { return bool{split_[at(value)]}; };
    if (std::none_of(step.operands.begin(), step.operands.end(), is_split)) {
      return add(std::move(step), false);
    }
    const Op& op = *step.op;
    if (const auto* shared = dynamic_cast<const SharedOp*>(&op)) {
      std::vector<bool> split;
      for (std::size_t i = 0; i < step.outputs.size(); ++i) {
        split.push_back(shared->is_split(static_cast<int>(i)));
      }
      return op.adds_rows() ? add_sum(std::move(step), split) : add(std::move(step), split);
    }
    if (op.rows_independent()) {
      if (ranks_ != nullptr && draws(op)) step.operands.push_back(first_row());
      return add(std::move(step), true);
    }
    if (op.adds_rows() && !adds_a_bias(step)) {
      const std::vector<bool> none(step.outputs.size(), false);
      return add_sum(std::move(step), none);
    }
    if (place_in_parts(step)) return;
    if (ranks_ != nullptr) {
      throw usage_error(
          "'{}': {} mixes the rows of a batch in a way that several processes cannot share; train "
          "it in one process",
          step.path, describe(op));
    }
    whole_ = true;
    add(std::move(step), false);
  }

  static bool draws(const Op& op) {
    return mask_of_dropout(op).has_value() || op.name() == "relu_dropout";
  }
  // A bias is no sum over rows: it would be added for each piece.
  bool adds_a_bias(const Step& step) const {
    for (std::size_t k = 0; k < step.operands.size(); ++k) {
      if (step.op->role(static_cast<int>(k)) == Role::bias && !split_[at(step.operands[k])]) {
        return true;
      }
    }
    return false;
  }

  // As ops that are placed in their turn; false where there are none.
  bool place_in_parts(const Step& step) {
    const OpRef& op = step.op;
    return expand(step, [&](Tape& tape, std::span<const Var> o) -> std::vector<Var> {
      const bool has_parts = backend_.device.kind == DeviceKind::cpu && o[0].dtype() != DType::f64;
      if (has_parts) {
        if (std::vector<Var> parts = batch_norm_in_parts(op, o); !parts.empty()) return parts;
      }
      const OpRef sums = op->without_average();
      if (sums == nullptr) return op->decompose(tape, o);
      const Var sum = record(sums, o).out();
      // How many elements make one: an operand's for each of the result's, or, of what is spread
      // out, the other way round.
      const bool spread = !split_[at(step.operands[0])];
      const Var count = spread ? count_like(o[1], o[0]) : count_like(o[0], sum);
      return {div(sum, cast(count, sum.dtype()))};
    });
  }

  bool expand(const Step& step, Recording record) {
    // A result is the step's own value; others are new.
    const auto output = [&](const Var& made, std::span<const Var> results) {
      for (std::size_t i = 0; i < step.outputs.size(); ++i) {
        if (results[i] == made) return step.outputs[i];
      }
      return add_value({Value::Kind::computed, 0, made.type()});
    };
    const auto constant = [&](Tensor value) {
      program_.constants.push_back(value);
      return add_value(
          {Value::Kind::constant, static_cast<int>(program_.constants.size()) - 1, value.type()});
    };
    const std::vector<int> results =
        record_steps(program_, step, backend_.device, step.operands, record,
                     {output, constant, [&](Step made) { place(std::move(made)); }});
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (results[i] == step.outputs[i]) continue;  // else it is an operand itself
      place({unary_op(Unary::identity, 0, 0),
             step.path,
             step.owner,
             step.node,
             {results[i]},
             {step.outputs[i]}});
    }
    return !results.empty();
  }

  // A sum over rows: by pieces, and then over the ranks.
  void add_sum(Step step, const std::vector<bool>& split_outputs) {
    std::vector<bool> split_operands;
    for (int operand : step.operands) split_operands.push_back(split_[at(operand)]);
    step.op = in_chunks(step.op, chunks_, std::move(split_operands), split_outputs);
    if (ranks_ == nullptr) return add(std::move(step), split_outputs);
    std::vector<Step> sums;
    for (std::size_t i = 0; i < step.outputs.size(); ++i) {
      if (split_outputs[i]) continue;
      const int own = add_value({Value::Kind::computed, 0, type_of(step.outputs[i])});
      sums.push_back(
          {all_reduce_op(ranks_), step.path, step.owner, step.node, {own}, {step.outputs[i]}});
      step.outputs[i] = own;
    }
    add(std::move(step), split_outputs);
    for (Step& sum : sums) add(std::move(sum), false);
  }

  void add(Step step, bool split) {
    add(std::move(step), std::vector<bool>(step.outputs.size(), split));
  }
  void add(Step step, const std::vector<bool>& split) {
    for (std::size_t i = 0; i < step.outputs.size(); ++i) {
      split_[at(step.outputs[i])] = split[i];
    }
    program_.append(std::move(step));
  }
  const Type& type_of(int value) const { return program_.values[at(value)].type; }
  int add_value(const Value& value) {
    program_.values.push_back(value);
    split_.push_back(false);
    return static_cast<int>(program_.values.size()) - 1;
  }
  int first_row() {
    if (first_row_ < 0) {
      const Type type{DType::i64, {}};
      first_row_ = add_value({Value::Kind::input, static_cast<int>(program_.inputs.size()), type});
      program_.inputs.emplace_back(kFirstRow, type);
    }
    return first_row_;
  }

  LoweredProgram& program_;
  const Backend& backend_;
  int chunks_;
  Communicator* ranks_;
  std::size_t bucket_bytes_;
  std::vector<bool> split_;  // by value: its rows are the batch's
  int first_row_ = -1;
  bool whole_ = false;
};

}  // namespace

void share_batch(LoweredProgram& program, const Backend& backend, const CompileOptions& options) {
  if (options.chunks == 1 && options.ranks == nullptr) return;
  LoweredProgram shared = program;
  if (Sharing(shared, backend, options).run()) program = std::move(shared);
}

}  // namespace tapescope
