// Softmax and log-softmax over the last axis, and their gradients.
#include "kernels/log_softmax/log_softmax.h"

#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

// What the four share: rows of the last axis.
class RowsOp : public Op {
 public:
  explicit RowsOp(bool log) : log_(log) {}
  void attributes(AttributeVisitor&) const override {}
  Types infer(std::span<const Type> t) const override {
    if (t[0].shape.rank() < 1 || !is_floating(t[0].dtype)) {
      throw usage_error("[{}] the operand must be floating with at least one axis, not {}", name(),
                        to_string(t[0]));
    }
    if (t.size() > 1 && t[1] != t[0]) {
      throw usage_error("[{}] the gradient and the output must be of one type, not {} and {}",
                        name(), to_string(t[0]), to_string(t[1]));
    }
    return {t[0]};
  }
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::normaliser; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 5);
  }
  Footprint footprint() const override { return {}; }
  bool may_overwrite(int operand, int) const override { return operand == 0; }

 protected:
  static SoftmaxShape rows(const Type& type) {
    const Shape& shape = type.shape;
    return {type.dtype, shape.elements(0, shape.rank() - 1), shape[shape.rank() - 1]};
  }
  static int last_axis(Var x) { return x.shape().rank() - 1; }
  bool log_;
};

// operands: dy, y
class SoftmaxGradient final : public RowsOp {
 public:
  using RowsOp::RowsOp;
  std::string_view name() const override {
    return log_ ? "log_softmax_gradient" : "softmax_gradient";
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(log_ ? log_softmax_gradient_variants() : softmax_gradient_variants(),
                        rows(t[0]), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override { v.give_by_decomposition(); }
  std::vector<Var> decompose(Tape&, std::span<const Var> operands) const override {
    const Var dy = operands[0], y = operands[1];
    const int axes[] = {last_axis(dy)};
    if (log_) {
      const Var p = exp(y);
      return {sub(dy, mul(p, reduce_sum(dy, axes)))};
    }
    return {mul(y, sub(dy, reduce_sum(mul(dy, y), axes)))};
  }
};

class Softmax final : public RowsOp {
 public:
  using RowsOp::RowsOp;
  std::string_view name() const override { return log_ ? "log_softmax" : "softmax"; }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(log_ ? log_softmax_variants() : softmax_variants(), rows(t[0]), t[0].dtype,
                        backend);
  }
  void vjp(Vjp& v) const override {
    v.give(0, record<SoftmaxGradient>({v.cotangent(), v.output()}, log_));
  }
  bool nonnegative() const override { return !log_; }
  std::vector<Var> decompose(Tape&, std::span<const Var> operands) const override {
    const Var x = operands[0];
    const int axes[] = {last_axis(x)};
    const Var shifted = sub(x, reduce_max(x, axes));
    const Var total = reduce_sum(exp(shifted), axes);
    return {log_ ? sub(shifted, tapescope::log(total)) : div(exp(shifted), total)};
  }
};

std::vector<Sample> samples_of(const OpRef& op, bool gradient, OperandSpec::Values second) {
  std::vector<Sample> samples;
  for (const Shape& shape :
       {Shape{3, 10}, Shape{3, 1}, Shape{3, 2, 19}, Shape{0, 4}, Shape{3, 133}}) {
    Sample sample{to_string(shape), op, {normal(shape)}};
    if (gradient) sample.operands.push_back(operand(shape, second));
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace

Var softmax(Var x) { return record<Softmax>({x}, false); }
Var log_softmax(Var x) { return record<Softmax>({x}, true); }

std::vector<Sample> softmax_samples() {
  return samples_of(std::make_shared<Softmax>(false), false, {});
}
std::vector<Sample> log_softmax_samples() {
  return samples_of(std::make_shared<Softmax>(true), false, {});
}
std::vector<Sample> softmax_gradient_samples() {
  return samples_of(std::make_shared<SoftmaxGradient>(false), true, OperandSpec::Values::unit);
}
std::vector<Sample> log_softmax_gradient_samples() {
  return samples_of(std::make_shared<SoftmaxGradient>(true), true,
                    OperandSpec::Values::log_probability);
}

}  // namespace tapescope
