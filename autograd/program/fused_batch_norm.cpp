// Batch normalisation in training, a residual branch added, relu: one kernel forward, one backward.
//
//   relu(batch_norm_training(x))    as batch_norm_relu(x), and with a residual branch r recorded
//   relu(batch_norm_training(x)+r)  before it as batch_norm_relu(x, r); in their gradients
//   batch_norm_gradient(mask_positive(dy, ..), ..)  as batch_norm_relu_gradient(dy, ..), which
//   makes
//                                                   relu's mask again
//
// and on the CPU clamp(batch_norm_training(x), 0, top), relu6 for one, as batch_norm_relu(x) with
// that top; in its gradient batch_norm_gradient(mul(dy, inside(..)), ..) in the same way. Not in
// bf16: there what is inside is asked of the rounded result.
#include <algorithm>

#include "autograd/ops/fused.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/program/bounds.h"
#include "autograd/program/passes.h"
#include "kernels/batch_norm/batch_norm.h"

namespace tapescope {
namespace {

class BatchNormReluBase : public Op {
 public:
  BatchNormReluBase(double epsilon, bool residual, double top = 0)
      : epsilon_(epsilon), residual_(residual), top_(top) {}
  void attributes(AttributeVisitor& v) const override {
    v.visit("epsilon", epsilon_);
    v.visit("residual", std::int64_t{residual_});
    if (top_ > 0) v.visit("top", top_);
  }
  void vjp(Vjp& v) const override { v.give_by_decomposition(); }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 6);
  }
  Footprint footprint() const override { return {}; }
  bool rows_independent() const override { return false; }

 protected:
  Type vector_of(const Type& x) const { return {wide(x.dtype), {x.shape[x.shape.rank() - 1]}}; }
  // Operand k < images or k == branch is like x, the others {C}.
  void check(std::span<const Type> t, std::size_t images, std::size_t branch) const {
    for (std::size_t k = 1; k < t.size(); ++k) {
      const Type expected = k < images || k == branch ? t[0] : vector_of(t[0]);
      if (t[k] == expected) continue;
      throw usage_error("[{}] operand {} must be {}, not {}", name(), k, to_string(expected),
                        to_string(t[k]));
    }
  }
  BatchNormShape rows(const Type& x) const {
    const Shape& shape = x.shape;
    const std::int64_t C = shape[shape.rank() - 1];
    const BatchNormPart whole = BatchNormPart::whole;
    return {x.dtype, shape.elements(0, shape.rank() - 1), C, epsilon_, residual_, whole, top_};
  }
  double epsilon_;
  bool residual_;
  double top_;  // 0: none
};

// relu(batch_norm_training(x) + r). operands: x, scale, shift, and r where residual
// -> y, mean, variance, factor, offset
class BatchNormReluTraining final : public BatchNormReluBase {
 public:
  using BatchNormReluBase::BatchNormReluBase;
  std::string_view name() const override { return "batch_norm_relu"; }
  Types infer(std::span<const Type> t) const override {
    check(t, 1, 3);
    const Type vector = vector_of(t[0]);
    return {t[0], vector, vector, vector, vector};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(batch_norm_relu_training_variants(), rows(t[0]), t[0].dtype, backend);
  }
  std::vector<Var> decompose(Tape&, std::span<const Var> o) const override {
    const BatchNormResult norm = batch_norm_training(o[0], o[1], o[2], epsilon_);
    const Var factor = mul(o[1], rsqrt(affine(norm.variance, 1, epsilon_)));
    const Var y = top_ > 0 ? clamp(norm.y, 0, top_) : relu(residual_ ? add(norm.y, o[3]) : norm.y);
    return {y, norm.mean, norm.variance, factor, o[2]};
  }
  Role role(int) const override { return Role::signal; }
  bool may_overwrite(int operand, int output) const override { return operand == 3 && output == 0; }
};

// operands: dy, x, mean, variance, scale, and y where residual, else factor, offset
// -> dx, dscale, dshift, and dr where residual
class BatchNormReluGradient final : public BatchNormReluBase {
 public:
  using BatchNormReluBase::BatchNormReluBase;
  std::string_view name() const override { return "batch_norm_relu_gradient"; }
  Types infer(std::span<const Type> t) const override {
    check(t, 2, residual_ ? 5 : 0);
    const Type vector = vector_of(t[0]);
    return residual_ ? Types{t[0], vector, vector, t[0]} : Types{t[0], vector, vector};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(batch_norm_relu_gradient_variants(), rows(t[0]), t[0].dtype, backend);
  }
  std::vector<Var> decompose(Tape&, std::span<const Var> o) const override {
    const Var y =
        residual_ ? o[5] : cast(add(mul(sub(widened(o[1]), o[2]), o[5]), o[6]), o[1].dtype());
    const Var passed = top_ > 0 ? mul(o[0], inside(y, 0, top_)) : mask_positive(o[0], y);
    const Var operands[] = {passed, o[1], o[2], o[3], o[4]};
    std::vector<Var> results = batch_norm_gradient(operands, epsilon_);
    if (residual_) results.push_back(passed);
    return results;
  }
  Role role(int operand) const override { return operand < 5 ? Role::signal : Role::fixed; }
  bool may_overwrite(int operand, int output) const override {
    return operand == 0 && output == (residual_ ? 3 : 0);
  }
};

const Shape kShapes[] = {{3, 4, 5, 6}, {3, 7}, {3, 2, 3, 1}, {3, 5, 5, 33}};

OperandSpec vector_of(const Shape& x, OperandSpec::Values values) {
  return per_channel(operand({x[x.rank() - 1]}, values));
}
constexpr auto kNormal = OperandSpec::Values::normal;
constexpr auto kPositive = OperandSpec::Values::positive;
constexpr auto kFar = OperandSpec::Values::far_from_zero;  // no kink near
constexpr double kSomeTop = 24;                            // among what those make

// The vector-Jacobian product of the normalisation `norm` for this cotangent, or -1.
int gradient_of(const Rewriter& r, int norm, int cotangent) {
  const std::vector<int>& readers = r.readers(cotangent);
  const auto found = std::find_if(readers.begin(), readers.end(), [&](int s) {
    const Step& step = r.step(s);
    return step.op->name() == "batch_norm_gradient" && step.operands[0] == cotangent &&
           step.operands[1] == r.step(norm).operands[0] &&
           step.operands[2] == r.step(norm).outputs[1];
  });
  return found == readers.end() ? -1 : *found;
}

// mask: relu's vector-Jacobian product; what reads it: that of the normalisation `norm`.
void fuse_gradient(Rewriter& r, int mask, int norm, double epsilon, bool residual) {
  const int y = r.step(norm).outputs[0];
  if (r.step(mask).op->name() != "mask_positive" || r.step(mask).operands[1] != y) return;
  const int masked = r.step(mask).outputs[0];
  const int gradient = gradient_of(r, norm, masked);
  if (gradient < 0) return;
  // Without a branch nobody else may read the masked cotangent; with one it is the branch's, and
  // is known from here on.
  if (residual ? r.readers(masked)[0] != gradient : !r.read_only_by(masked, {gradient})) return;
  std::vector<int> operands = r.step(gradient).operands;
  operands[0] = r.step(mask).operands[0];
  if (residual) {
    operands.push_back(y);
  } else {
    operands.push_back(r.step(norm).outputs[3]);
    operands.push_back(r.step(norm).outputs[4]);
  }
  r.replace(gradient, std::make_shared<BatchNormReluGradient>(epsilon, residual),
            std::move(operands));
  if (residual) r.substitute(masked, r.step(gradient).outputs[3]);
}

// clamped: clamp(normalised, 0, top). Its gradient, where there is one, asks of the normalised
// value whether it was inside, and nothing else may read that.
void fuse_clamp(Rewriter& r, int clamped) {
  const std::optional<Bounds> bounds = bounds_of(*r.step(clamped).op);
  const int normalised = r.step(clamped).operands[0];
  if (!bounds || bounds->least != 0 || bounds->most <= 0 ||
      !r.is(normalised, "batch_norm_training"))
    return;
  if (r.backend().device.kind != DeviceKind::cpu || r.type(normalised).dtype == DType::bf16) return;
  const int norm = r.maker(normalised);
  int inside = -1, masked = -1, gradient = -1;
  for (int s : r.readers(normalised)) {
    if (s != clamped && r.step(s).op->name() == "inside") inside = s;
  }
  if (!r.read_only_by(normalised, {clamped, inside})) return;
  if (inside >= 0) {
    const int mask = r.step(inside).outputs[0];
    if (bounds_of(*r.step(inside).op) != bounds || r.readers(mask).size() != 1 || r.kept(mask))
      return;
    masked = r.readers(mask)[0];
    if (r.step(masked).op->name() != "mul" || r.step(masked).operands[1] != mask) return;
    gradient = gradient_of(r, norm, r.step(masked).outputs[0]);
    if (gradient < 0 || !r.read_only_by(r.step(masked).outputs[0], {gradient})) return;
  }
  const double epsilon = epsilon_of_batch_norm(*r.step(norm).op).value();
  r.replace(norm, std::make_shared<BatchNormReluTraining>(epsilon, false, bounds->most),
            r.step(norm).operands);
  r.substitute(r.step(clamped).outputs[0], normalised);
  if (gradient < 0) return;
  std::vector<int> operands = r.step(gradient).operands;
  operands[0] = r.step(masked).operands[0];
  operands.push_back(r.step(norm).outputs[3]);
  operands.push_back(r.step(norm).outputs[4]);
  r.replace(gradient, std::make_shared<BatchNormReluGradient>(epsilon, false, bounds->most),
            std::move(operands));
}

}  // namespace

void fuse_batch_norm(Rewriter& r) {
  for (int s = 0; s < r.steps(); ++s) {
    if (r.step(s).op->name() == "clamp") fuse_clamp(r, s);
    if (r.step(s).op->name() != "relu") continue;
    const int summed = r.step(s).operands[0];
    int normalised = summed, branch = -1, reader = s;
    if (r.is(summed, "add")) {
      const int a = r.step(r.maker(summed)).operands[0], b = r.step(r.maker(summed)).operands[1];
      if (!r.read_only_by(summed, {s}) || r.type(a) != r.type(b)) continue;
      // The one that was recorded last is normalised where the other one is known.
      if (r.maker(a) == r.maker(b)) continue;
      normalised = r.maker(a) > r.maker(b) ? a : b;
      branch = normalised == a ? b : a;
      reader = r.maker(summed);
    }
    if (!r.is(normalised, "batch_norm_training") || !r.read_only_by(normalised, {reader})) continue;
    const int norm = r.maker(normalised);
    const double epsilon = epsilon_of_batch_norm(*r.step(norm).op).value();
    std::vector<int> operands = r.step(norm).operands;
    if (branch >= 0) operands.push_back(branch);
    r.replace(norm, std::make_shared<BatchNormReluTraining>(epsilon, branch >= 0),
              std::move(operands));
    const int rectified = r.step(s).outputs[0];
    const std::vector<int> readers = r.readers(rectified);
    r.substitute(rectified, normalised);
    for (int mask : readers) fuse_gradient(r, mask, norm, epsilon, branch >= 0);
  }
}

std::vector<Sample> batch_norm_relu_samples() {
  std::vector<Sample> samples;
  for (const Shape& x : kShapes) {
    std::vector<OperandSpec> operands = {normal(x), vector_of(x, kPositive), vector_of(x, kFar)};
    samples.push_back(
        {to_string(x), std::make_shared<BatchNormReluTraining>(1e-5, false), operands});
    operands.push_back(normal(x));
    samples.push_back({"residual " + to_string(x),
                       std::make_shared<BatchNormReluTraining>(1e-5, true), operands});
    operands.pop_back();
    samples.push_back({"bounded " + to_string(x),
                       std::make_shared<BatchNormReluTraining>(1e-5, false, kSomeTop), operands});
  }
  return samples;
}

std::vector<Sample> batch_norm_relu_gradient_samples() {
  std::vector<Sample> samples;
  for (const Shape& x : kShapes) {
    const std::vector<OperandSpec> shared = {normal(x), normal(x), vector_of(x, kNormal),
                                             vector_of(x, kPositive), vector_of(x, kPositive)};
    std::vector<OperandSpec> plain = shared, residual = shared;
    plain.push_back(vector_of(x, kPositive));
    plain.push_back(vector_of(x, kFar));
    residual.push_back(operand(x, OperandSpec::Values::away_from_zero));
    samples.push_back({to_string(x), std::make_shared<BatchNormReluGradient>(1e-5, false), plain});
    samples.push_back({"bounded " + to_string(x),
                       std::make_shared<BatchNormReluGradient>(1e-5, false, kSomeTop), plain});
    samples.push_back({"residual " + to_string(x),
                       std::make_shared<BatchNormReluGradient>(1e-5, true), residual});
  }
  return samples;
}

}  // namespace tapescope
