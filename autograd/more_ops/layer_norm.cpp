// Layer normalisation over the last axis, its gradient, and group normalisation made of other ops.
#include "kernels/more_ops/layer_norm/layer_norm.h"

#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

// (x - mean) / sqrt(variance + epsilon) over `axes`. The divisor is a gate: relevance takes it as
// it is (Ali et al. 2022, arXiv 2202.07304).
Var normalised_over(Var x, std::span<const int> axes, double epsilon) {
  const Var centred = sub(x, reduce_mean(x, axes));
  const Var variance = reduce_mean(square(centred), axes);
  return gate(centred, rsqrt(affine(variance, 1, epsilon)));
}

// What both share: rows of the last axis, and vectors {C} beside them.
class LayerNormBase : public Op {
 public:
  explicit LayerNormBase(double epsilon) : epsilon_(epsilon) {}
  void attributes(AttributeVisitor& v) const override { v.visit("epsilon", epsilon_); }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 8);
  }
  Footprint footprint() const override { return {}; }

 protected:
  // The first `images` operands are of x's type, the others {C}.
  void check(std::span<const Type> t, std::size_t images) const {
    const Shape& x = t[0].shape;
    if (x.rank() < 2 || !is_floating(t[0].dtype)) {
      throw usage_error("[{}] the operand must be a floating {{N, ..., C}}, not {}", name(),
                        to_string(t[0]));
    }
    const std::int64_t channels = x[x.rank() - 1];
    for (std::size_t i = 1; i < t.size(); ++i) {
      const Type expected = i < images ? t[0] : Type{t[0].dtype, {channels}};
      if (t[i] != expected) {
        throw usage_error("[{}] operand {} must be {} for {} channels, not {}", name(), i,
                          to_string(expected), channels, to_string(t[i]));
      }
    }
  }
  LayerNormShape rows(const Type& x) const {
    const Shape& shape = x.shape;
    return {x.dtype, shape.elements(0, shape.rank() - 1), shape[shape.rank() - 1], epsilon_};
  }
  Var normalised(Var x) const {
    const int axes[] = {x.shape().rank() - 1};
    return normalised_over(x, axes, epsilon_);
  }
  double epsilon_;
};

// operands: dy, x, scale -> dx
class LayerNormGradient final : public LayerNormBase {
 public:
  using LayerNormBase::LayerNormBase;
  std::string_view name() const override { return "layer_norm_gradient"; }
  Types infer(std::span<const Type> t) const override {
    check(t, 2);
    return {t[0]};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(layer_norm_gradient_variants(), rows(t[0]), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override { v.give_by_decomposition(); }
  std::vector<Var> decompose(Tape&, std::span<const Var> o) const override {
    const Var x = o[1], g = mul(o[0], o[2]);
    const int axes[] = {x.shape().rank() - 1};
    const Var centred = sub(x, reduce_mean(x, axes));
    const Var inverse = rsqrt(affine(reduce_mean(square(centred), axes), 1, epsilon_));
    const Var normalised = mul(centred, inverse);
    const Var along = mul(normalised, reduce_mean(mul(g, normalised), axes));
    return {mul(sub(sub(g, reduce_mean(g, axes)), along), inverse)};
  }
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  bool may_overwrite(int operand, int) const override { return operand == 0; }
};

// operands: x, scale, shift -> y
class LayerNorm final : public LayerNormBase {
 public:
  using LayerNormBase::LayerNormBase;
  std::string_view name() const override { return "layer_norm"; }
  Types infer(std::span<const Type> t) const override {
    check(t, 1);
    return {t[0]};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(layer_norm_variants(), rows(t[0]), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    const Var dy = v.cotangent(), x = v.operand(0), scale = v.operand(1);
    if (v.wants(0)) v.give(0, record<LayerNormGradient>({dy, x, scale}, epsilon_));
    if (v.wants(1)) {
      const Var one = ones_like(scale), zero = zeros_like(scale);
      const Var plain = layer_norm(x, one, zero, epsilon_);
      v.give(1, reduce_like(mul(dy, plain), scale));
    }
    if (v.wants(2)) v.give(2, reduce_like(dy, v.operand(2)));
  }
  std::vector<Var> decompose(Tape&, std::span<const Var> o) const override {
    return {add(mul(normalised(o[0]), o[1]), o[2])};
  }
  Role role(int operand) const override {
    return operand == 0 ? Role::signal : operand == 1 ? Role::weight : Role::bias;
  }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::elementary; }
  bool may_overwrite(int operand, int) const override { return operand == 0; }
};

const Shape kLayerNormShapes[] = {{3, 4, 5, 6}, {3, 7},        {3, 2, 3, 1},
                                  {0, 4},       {3, 2, 2, 37}, {3, 133}};

OperandSpec channels_of(const Shape& x, OperandSpec::Values values) {
  return fixed_extent(operand({x[x.rank() - 1]}, values));
}

}  // namespace

Var layer_norm(Var x, Var scale, Var shift, double epsilon) {
  require_operands("layer_norm", {x, scale, shift});
  return record<LayerNorm>({x, cast(scale, x.dtype()), cast(shift, x.dtype())}, epsilon);
}

Var group_norm(Var x, std::int64_t groups, Var scale, Var shift, double epsilon) {
  require_operands("group_norm", {x, scale, shift});
  const Shape& shape = x.shape();
  const std::int64_t channels = shape[shape.rank() - 1];
  if (shape.rank() < 2 || groups < 1 || channels % groups != 0) {
    throw usage_error("[group_norm] {} needs channels that {} groups share evenly",
                      to_string(shape), groups);
  }
  const Var grouped = reshape(x, {shape.elements(1, shape.rank() - 1), groups, channels / groups});
  constexpr int kWithinGroup[] = {1, 3};
  const Var normalised = normalised_over(grouped, kWithinGroup, epsilon);
  return add(mul(reshape(normalised, shape.without_leading()), scale), shift);
}

std::vector<Sample> layer_norm_samples() {
  std::vector<Sample> samples;
  for (const Shape& x : kLayerNormShapes) {
    samples.push_back({to_string(x),
                       std::make_shared<LayerNorm>(1e-3),
                       {normal(x), channels_of(x, OperandSpec::Values::positive),
                        channels_of(x, OperandSpec::Values::normal)}});
  }
  return samples;
}

std::vector<Sample> layer_norm_gradient_samples() {
  std::vector<Sample> samples;
  for (const Shape& x : kLayerNormShapes) {
    samples.push_back({to_string(x),
                       std::make_shared<LayerNormGradient>(1e-3),
                       {normal(x), normal(x), channels_of(x, OperandSpec::Values::positive)}});
  }
  return samples;
}

}  // namespace tapescope
