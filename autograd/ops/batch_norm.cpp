// Batch normalisation over all axes but the last (PyTorch's: biased variance normalises).
#include "kernels/batch_norm/batch_norm.h"

#include "autograd/ops/fused.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

class BatchNormBase : public Op {
 public:
  explicit BatchNormBase(double epsilon) : epsilon_(epsilon) {}
  void attributes(AttributeVisitor& v) const override { v.visit("epsilon", epsilon_); }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 5);
  }
  Footprint footprint() const override { return {}; }
  double epsilon() const { return epsilon_; }

 protected:
  // x and what has its type; then `vectors` operands {C}.
  std::int64_t check(std::span<const Type> t, std::size_t images) const {
    const Shape& x = t[0].shape;
    if (x.rank() < 2 || !is_floating(t[0].dtype)) {
      throw usage_error("[{}] the operand must be a floating {{N, ..., C}}, not {}", name(),
                        to_string(t[0]));
    }
    const std::int64_t channels = x[x.rank() - 1];
    for (std::size_t i = 1; i < t.size(); ++i) {
      const Type expected = i < images ? t[0] : Type{wide(t[0].dtype), {channels}};
      if (t[i] != expected) {
        throw usage_error("[{}] operand {} must be {} for {} channels, not {}", name(), i,
                          to_string(expected), channels, to_string(t[i]));
      }
    }
    return channels;
  }
  BatchNormShape rows(const Type& x) const {
    const Shape& shape = x.shape;
    return {x.dtype, shape.elements(0, shape.rank() - 1), shape[shape.rank() - 1], epsilon_};
  }
  double epsilon_;
};

// All axes but the last: what batch normalisation reduces over.
std::vector<int> reduced_axes_of(Var x) {
  std::vector<int> axes;
  for (int axis = 0; axis + 1 < x.shape().rank(); ++axis) axes.push_back(axis);
  return axes;
}

// operands: dy, x, mean, variance, scale -> dx, dscale, dshift
class BatchNormGradient final : public BatchNormBase {
 public:
  using BatchNormBase::BatchNormBase;
  std::string_view name() const override { return "batch_norm_gradient"; }
  Types infer(std::span<const Type> t) const override {
    const Type vector{wide(t[0].dtype), {check(t, 2)}};
    return {t[0], vector, vector};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(batch_norm_gradient_variants(), rows(t[0]), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override { v.give_by_decomposition(); }
  std::vector<Var> decompose(Tape&, std::span<const Var> o) const override {
    const Var dy = widened(o[0]), x = widened(o[1]), mean = o[2], variance = o[3], scale = o[4];
    const Var inverse = rsqrt(affine(variance, 1, epsilon_));
    const Var normalised = mul(sub(x, mean), inverse);
    const Var product = mul(dy, normalised);
    const std::vector<int> axes = reduced_axes_of(x);
    // The two means are over rows; what is left is the part of dy orthogonal to 1 and xhat.
    const Var without_mean = sub(dy, reduce_mean(dy, axes));
    const Var along = mul(normalised, reduce_mean(product, axes));
    const Var centred = sub(without_mean, along);
    return {cast(mul(centred, mul(scale, inverse)), o[1].dtype()), reduce_like(product, scale),
            reduce_like(dy, scale)};
  }
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  bool rows_independent() const override { return false; }
};

// operands: x, scale, shift -> y, mean, variance
class BatchNormTraining final : public BatchNormBase {
 public:
  using BatchNormBase::BatchNormBase;
  std::string_view name() const override { return "batch_norm_training"; }
  Types infer(std::span<const Type> t) const override {
    const Type vector{wide(t[0].dtype), {check(t, 1)}};
    return {t[0], vector, vector};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(batch_norm_training_variants(), rows(t[0]), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    // The fused gradient covers the usual case, in which only y is differentiated.
    if (v.cotangent(1) || v.cotangent(2)) {
      v.give_by_decomposition();
      return;
    }
    const Node& node =
        record(std::make_shared<BatchNormGradient>(epsilon_),
               {v.cotangent(), v.operand(0), v.output(1), v.output(2), v.operand(1)});
    for (int i = 0; i < 3; ++i)
      if (v.wants(i)) v.give(i, node.out(i));
  }
  std::vector<Var> decompose(Tape&, std::span<const Var> o) const override {
    const Var x = widened(o[0]), scale = o[1], shift = o[2];
    const std::vector<int> axes = reduced_axes_of(x);
    const Var mean = reduce_mean(x, axes);
    const Var centred = sub(x, mean);
    const Var variance = reduce_mean(square(centred), axes);
    const Var normalised = mul(centred, rsqrt(affine(variance, 1, epsilon_)));
    const Shape channels = scale.shape();
    return {cast(add(mul(normalised, scale), shift), o[0].dtype()), reshape_all(mean, channels),
            reshape_all(variance, channels)};
  }
  Role role(int operand) const override {
    return operand == 0 ? Role::signal : operand == 1 ? Role::weight : Role::bias;
  }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::normaliser; }
  bool rows_independent() const override { return false; }
};

// operands: x, scale, shift, mean, variance -> y
class BatchNormInference final : public BatchNormBase {
 public:
  using BatchNormBase::BatchNormBase;
  std::string_view name() const override { return "batch_norm_inference"; }
  Types infer(std::span<const Type> t) const override {
    check(t, 1);
    return {t[0]};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(batch_norm_inference_variants(), rows(t[0]), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    // Usually only x is wanted: y is an affine function of it.
    if (v.wants(1) || v.wants(2) || v.wants(3) || v.wants(4)) {
      v.give_by_decomposition();
      return;
    }
    const Var factor = channel_affine(v.node().operands())[1];
    v.give(0, mul(v.cotangent(), cast(factor, v.operand(0).dtype())));
  }
  bool folds_into_weights() const override { return true; }
  std::vector<Var> channel_affine(std::span<const Var> o) const override {
    return {o[3], mul(o[1], rsqrt(affine(o[4], 1, epsilon_))), o[2]};
  }
  std::vector<Var> decompose(Tape&, std::span<const Var> o) const override {
    const std::vector<Var> a = channel_affine(o);
    return {cast(add(mul(sub(widened(o[0]), a[0]), a[1]), a[2]), o[0].dtype())};
  }
  Role role(int operand) const override {
    return operand == 0 ? Role::signal : operand == 2 ? Role::bias : Role::weight;
  }
  RelevanceClass relevance_class(unsigned active) const override {
    return (active & 1u) != 0 && (active & ~1u) == 0 ? RelevanceClass::linear
                                                     : RelevanceClass::product;
  }
  bool may_overwrite(int operand, int) const override { return operand == 0; }
};

const Shape kShapes[] = {{3, 4, 5, 6}, {3, 7}, {3, 2, 3, 1}, {3, 5, 5, 33}};

OperandSpec vector_of(const Shape& x, OperandSpec::Values values) {
  return per_channel(operand({x[x.rank() - 1]}, values));
}
constexpr auto kNormal = OperandSpec::Values::normal;
constexpr auto kPositive = OperandSpec::Values::positive;

}  // namespace

BatchNormResult batch_norm_training(Var x, Var scale, Var shift, double epsilon) {
  require_operands("batch_norm_training", {x, scale, shift});
  const Node& node = record(std::make_shared<BatchNormTraining>(epsilon), {x, scale, shift});
  return {node.out(0), node.out(1), node.out(2)};
}

Var batch_norm_inference(Var x, Var scale, Var shift, Var mean, Var variance, double epsilon) {
  return record<BatchNormInference>({x, scale, shift, mean, variance}, epsilon);
}

std::optional<double> epsilon_of_batch_norm(const Op& op) {
  const auto* norm = dynamic_cast<const BatchNormTraining*>(&op);
  return norm != nullptr ? std::optional(norm->epsilon()) : std::nullopt;
}
OpRef batch_norm_gradient_op(double epsilon) {
  return std::make_shared<BatchNormGradient>(epsilon);
}
std::vector<Var> batch_norm_gradient(std::span<const Var> operands, double epsilon) {
  const Node& node = record(batch_norm_gradient_op(epsilon), operands);
  return {node.out(0), node.out(1), node.out(2)};
}

std::vector<Sample> batch_norm_training_samples() {
  std::vector<Sample> samples;
  for (const Shape& x : kShapes) {
    samples.push_back({to_string(x),
                       std::make_shared<BatchNormTraining>(1e-5),
                       {normal(x), vector_of(x, kPositive), vector_of(x, kNormal)}});
  }
  return samples;
}

std::vector<Sample> batch_norm_gradient_samples() {
  std::vector<Sample> samples;
  for (const Shape& x : kShapes) {
    samples.push_back({to_string(x),
                       std::make_shared<BatchNormGradient>(1e-5),
                       {normal(x), normal(x), vector_of(x, kNormal), vector_of(x, kPositive),
                        vector_of(x, kPositive)}});
  }
  return samples;
}

std::vector<Sample> batch_norm_inference_samples() {
  std::vector<Sample> samples;
  for (const Shape& x : {Shape{3, 4, 5, 6}, Shape{3, 7}, Shape{0, 3}}) {
    samples.push_back({to_string(x),
                       std::make_shared<BatchNormInference>(1e-5),
                       {normal(x), vector_of(x, kPositive), vector_of(x, kNormal),
                        vector_of(x, kNormal), vector_of(x, kPositive)}});
  }
  return samples;
}

}  // namespace tapescope
