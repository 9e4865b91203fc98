// What a batch normalisation keeps of its batches, for evaluation.
#include "kernels/more_ops/running_statistics/running_statistics.h"

#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/program/joined_op.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

// operands: running_mean, running_variance, batches, mean, variance, and x, of which the shape
// alone is read, or, where it is `counted`, how many values a channel there were
class RunningUpdate final : public UpdateOp {
 public:
  RunningUpdate(double momentum, bool counted) : momentum_(momentum), counted_(counted) {}
  std::string_view name() const override { return "running_statistics"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("momentum", momentum_);
    v.visit("counted", static_cast<std::int64_t>(counted_));
  }
  Types infer(std::span<const Type> t) const override {
    for (std::size_t k : {1, 3, 4}) {
      if (t[k] != t[0] || t[0].shape.rank() != 1) {
        throw usage_error("[{}] means and variances must be of one type {{C}}, not {} and {}",
                          name(), to_string(t[0]), to_string(t[k]));
      }
    }
    if (t[2] != Type{DType::i64, {}} || (counted_ && t[5] != Type{t[0].dtype, {}})) {
      throw usage_error("[{}] batches are counted in i64 {{}} and values in {} {{}}, not {} and {}",
                        name(), name_of(t[0].dtype), to_string(t[2]), to_string(t[5]));
    }
    return {t[0], t[1], t[2]};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    const RunningNorm norm = norm_of(t);
    return prepare_from(running_statistics_variants(),
                        {t[0].dtype, momentum_, {&norm, 1}, 0, halts_}, t[0].dtype, backend);
  }
  Plan prepare_joined(std::span<const Joined> steps, std::int64_t pitch,
                      const Backend& backend) const override {
    std::vector<RunningNorm> norms;
    for (const Joined& step : steps) {
      const auto& op = static_cast<const RunningUpdate&>(*step.op);
      if (op.momentum_ != momentum_ || step.operands[0].dtype != steps[0].operands[0].dtype) {
        return {};
      }
      norms.push_back(op.norm_of(step.operands));
    }
    return gpu_plan<RunningStatisticsShape>(
        "running_statistics", {steps[0].operands[0].dtype, momentum_, norms, pitch, halts_},
        steps[0].operands[0].dtype, backend);
  }
  int common_operands_from() const override { return 6; }
  OpRef that_halts() const override {
    auto op = std::make_shared<RunningUpdate>(*this);
    op->halts_ = true;
    return op;
  }
  void vjp(Vjp&) const override {}  // nobody differentiates through an update
  Role role(int operand) const override {
    return operand == 5 && !counted_ ? Role::shape : Role::fixed;
  }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t.first(5), outputs, 3);
  }
  Footprint footprint() const override { return {}; }
  bool rows_independent() const override { return false; }
  bool may_overwrite(int operand, int output) const override { return operand == output; }
  // With a count of its own, which processes that share a batch add up; that one in elementary ops.
  std::vector<Var> decompose(Tape& tape, std::span<const Var> o) const override {
    if (!counted_) {
      const Var n = cast(count_like(o[5], o[0]), o[0].dtype());
      const Node& node = record(std::make_shared<RunningUpdate>(momentum_, true),
                                {o[0], o[1], o[2], o[3], o[4], n});
      return {node.out(0), node.out(1), node.out(2)};
    }
    const Var one = tape.scalar(1, o[0].dtype());
    const Var unbiased = div(o[5], maximum(sub(o[5], one), one));
    const auto blend = [&](Var old, Var batch) {
      return add(affine(old, 1 - momentum_), affine(batch, momentum_));
    };
    return {blend(o[0], o[3]), blend(o[1], mul(o[4], unbiased)), increment(o[2])};
  }

 private:
  RunningNorm norm_of(std::span<const Type> t) const {
    const std::int64_t C = t[0].elements();
    const double n =
        counted_ || C == 0 ? 0 : static_cast<double>(t[5].elements()) / static_cast<double>(C);
    return {C, n, counted_};
  }
  double momentum_;
  bool counted_;
  bool halts_ = false;
};

}  // namespace

RunningStatistics running_statistics(const RunningStatistics& old, Var mean, Var variance, Var x,
                                     double momentum) {
  require_operands("running_statistics", {old.mean, old.variance, old.batches, mean, variance, x});
  const Node& node = record(std::make_shared<RunningUpdate>(momentum, false),
                            {old.mean, old.variance, old.batches, mean, variance, x});
  return {node.out(0), node.out(1), node.out(2)};
}

std::vector<Sample> running_statistics_samples() {
  const auto vector = [](OperandSpec::Values values) { return per_channel(operand({5}, values)); };
  const OperandSpec mean = vector(OperandSpec::Values::normal);
  const OperandSpec variance = vector(OperandSpec::Values::positive);
  const OperandSpec batches = fixed_extent(index({}, 100));
  const OperandSpec n = per_channel(operand({}, OperandSpec::Values::positive));
  return {{"values of x",
           std::make_shared<RunningUpdate>(0.1, false),
           {mean, variance, batches, mean, variance, fixed_extent(normal({3, 4, 5}))}},
          {"counted",
           std::make_shared<RunningUpdate>(0.1, true),
           {mean, variance, batches, mean, variance, n}}};
}

}  // namespace tapescope
