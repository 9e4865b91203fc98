// Negative log likelihood straight from logits, and its gradient.
#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"
#include "kernels/log_softmax/nll.h"

namespace tapescope {
namespace {

void check(std::string_view op, const Type& logits, const Type& label) {
  if (logits.shape.rank() != 2 || label != Type{DType::i64, {logits.shape[0]}}) {
    throw usage_error("[{}] needs logits {{N, classes}} and labels i64 {{N}}, not {} and {}", op,
                      to_string(logits), to_string(label));
  }
}

// x {N,C}, label {N} -> {N}
class LogSoftmaxNll final : public Op {
 public:
  std::string_view name() const override { return "log_softmax_nll"; }
  void attributes(AttributeVisitor&) const override {}
  Types infer(std::span<const Type> t) const override {
    check(name(), t[0], t[1]);
    return {{t[0].dtype, {t[0].shape[0]}}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(log_softmax_nll_variants(), {t[0].dtype, t[0].shape[0], t[0].shape[1]},
                        t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override;
  Role role(int operand) const override { return operand == 0 ? Role::signal : Role::fixed; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::normaliser; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    Cost cost = memory_cost(t, outputs, 0);
    cost.flops = 5 * static_cast<double>(t[0].elements());
    return cost;
  }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  bool nonnegative() const override { return false; }  // rounding may take a sure answer below 0
  std::vector<Var> decompose(Tape&, std::span<const Var> operands) const override {
    return {neg(gather(log_softmax(operands[0]), operands[1]))};
  }
};

// dy {N}, x {N,C}, label {N} -> {N,C}
class LogSoftmaxNllGradient final : public Op {
 public:
  std::string_view name() const override { return "log_softmax_nll_gradient"; }
  void attributes(AttributeVisitor&) const override {}
  Types infer(std::span<const Type> t) const override {
    check(name(), t[1], t[2]);
    return {t[1]};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(log_softmax_nll_gradient_variants(),
                        {t[1].dtype, t[1].shape[0], t[1].shape[1]}, t[1].dtype, backend);
  }
  // dx = dy (softmax(x) - onehot): linear in dy, and softmax's own gradient in x.
  void vjp(Vjp& v) const override {
    const Var dy = v.operand(0), x = v.operand(1), label = v.operand(2), g = v.cotangent();
    constexpr int kClasses[] = {1};
    const Var p = softmax(x);
    if (v.wants(0)) {
      const Var mean = reshape(reduce_sum(mul(g, p), kClasses), {});
      v.give(0, sub(mean, gather(g, label)));
    }
    if (v.wants(1)) {
      const Var row = reshape(dy, {1});  // {N,1}: broadcasts over classes
      const Var up = mul(g, row);
      v.give(1, mul(p, sub(up, reduce_sum(mul(up, p), kClasses))));
    }
  }
  Role role(int operand) const override { return operand < 2 ? Role::signal : Role::fixed; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::normaliser; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 5);
  }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  bool may_overwrite(int operand, int) const override { return operand == 1; }
};

void LogSoftmaxNll::vjp(Vjp& v) const {
  v.give(0, record<LogSoftmaxNllGradient>({v.cotangent(), v.operand(0), v.operand(1)}));
}

}  // namespace

Var log_softmax_nll(Var logits, Var label) { return record<LogSoftmaxNll>({logits, label}); }

std::vector<Sample> log_softmax_nll_samples() {
  const auto op = std::make_shared<LogSoftmaxNll>();
  return {{"rows", op, {normal({3, 37}), index({3}, 37)}},
          {"two classes", op, {normal({3, 2}), index({3}, 2)}},
          {"wide", op, {normal({2, 1030}), index({2}, 1030)}},
          {"empty batch", op, {normal({0, 4}), index({0}, 4)}}};
}
std::vector<Sample> log_softmax_nll_gradient_samples() {
  const auto op = std::make_shared<LogSoftmaxNllGradient>();
  return {{"rows", op, {normal({3}), normal({3, 37}), index({3}, 37)}},
          {"empty batch", op, {normal({0}), normal({0, 4}), index({0}, 4)}}};
}

}  // namespace tapescope
