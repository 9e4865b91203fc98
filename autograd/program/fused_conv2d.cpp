// Convolution and what follows it in a net that answers, in Programs that change no weights:
//
//   batch_norm_inference(conv2d(x, w, b))   as conv2d(x, w', b'), folded into the weights
//   clamp(conv2d(x, w, b) + r)              as conv2d_fused(x, w, b, r)
//
// in which the residual branch r may be missing, and clamp may be relu or missing as well. A conv2d
// by itself becomes one too: weights that stay want other kernels than weights that change
// (kernels/conv2d/fused.h).
#include "kernels/conv2d/fused.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "autograd/ops/fused.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/program/bounds.h"
#include "autograd/program/passes.h"

namespace tapescope {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// On a GPU: the convolution, and what follows it in place.
struct OneByOne {
  struct Plans {
    Plan conv, add, clamp;
  };
  std::shared_ptr<const Plans> plans;

  void pack(const Queue& queue, const void* weights, void* packed) const {
    plans->conv.pack(queue, weights, packed);
  }
  void operator()(const Queue& queue, const Buffers& b) const {
    plans->conv.run(queue, b);
    const void* const in[] = {b.out[0], plans->add ? b.in[3] : nullptr};
    const Buffers in_place{in, b.out, b.workspace};
    if (plans->add) plans->add.run(queue, in_place);
    if (plans->clamp) plans->clamp.run(queue, in_place);
  }
};
Plan one_by_one(const FusedConv2dShape& f, const Backend& backend) {
  const Conv2dShape& c = f.conv;
  const auto plans = std::make_shared<OneByOne::Plans>();
  plans->conv = prepare_from(conv2d_variants(), c, c.dtype, backend);
  std::size_t workspace = plans->conv.workspace_bytes();
  const Shape y{c.N, c.P(), c.Q(), c.O};
  if (f.residual) {
    plans->add = prepare_from(binary_variants(), {c.dtype, Binary::add, y, y}, c.dtype, backend);
    workspace = std::max(workspace, plans->add.workspace_bytes());
  }
  if (f.least != -kInfinity || f.most != kInfinity) {
    plans->clamp = prepare_from(
        unary_variants(), {c.dtype, Unary::clamp, y.elements(), f.least, f.most}, c.dtype, backend);
    workspace = std::max(workspace, plans->clamp.workspace_bytes());
  }
  const Packing packing = plans->conv.packing();
  return Plan(plans->conv.variant(), workspace, OneByOne{plans}, packing);
}

// operands: x {N,H,W,I}, w {O,KH,KW,I/groups}, bias {O} (optional without residual), residual
// {N,P,Q,O} where there is one -> y {N,P,Q,O}
class FusedConv2d final : public Op {
 public:
  FusedConv2d(OpRef conv, bool residual, Bounds bounds)
      : conv_(std::move(conv)), residual_(residual), bounds_(bounds) {}
  std::string_view name() const override { return "conv2d_fused"; }
  void attributes(AttributeVisitor& v) const override {
    conv_->attributes(v);
    if (residual_) v.visit("residual", std::int64_t{1});
    if (bounds_.least != -kInfinity) v.visit("least", bounds_.least);
    if (bounds_.most != kInfinity) v.visit("most", bounds_.most);
  }
  Types infer(std::span<const Type> t) const override {
    const Types y = conv_->infer(convolved(t));
    if (residual_ && t.back() != y[0]) {
      throw usage_error("[conv2d_fused] the residual must be {}, not {}", to_string(y[0]),
                        to_string(t.back()));
    }
    return y;
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    const FusedConv2dShape shape{shape_of_conv2d(*conv_, convolved(t)).value(), residual_,
                                 bounds_.least, bounds_.most};
    if (backend.device.kind != DeviceKind::cpu) return one_by_one(shape, backend);
    return prepare_from(conv2d_fused_variants(), shape, t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override { v.give_by_decomposition(); }
  std::vector<Var> decompose(Tape&, std::span<const Var> o) const override {
    Var y = record(conv_, o.first(o.size() - (residual_ ? 1 : 0))).out();
    if (residual_) y = add(y, o.back());
    if (bounds_.least == 0 && bounds_.most == kInfinity) return {relu(y)};
    const bool bounded = bounds_.least != -kInfinity || bounds_.most != kInfinity;
    return {bounded ? clamp(y, bounds_.least, bounds_.most) : y};
  }
  Role role(int operand) const override {
    return operand == 1 ? Role::weight : operand == 2 ? Role::bias : Role::signal;
  }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    Cost cost = conv_->cost(convolved(t), outputs);
    if (residual_) cost.bytes += static_cast<double>(t.back().bytes());
    return cost;
  }
  Footprint footprint() const override { return conv_->footprint(); }
  bool nonnegative() const override { return bounds_.least >= 0; }
  int weight_operand(unsigned) const override { return -1; }  // what follows is not linear

 private:
  std::span<const Type> convolved(std::span<const Type> t) const {
    return t.first(t.size() - (residual_ ? 1 : 0));
  }
  OpRef conv_;
  bool residual_;
  Bounds bounds_;
};

// The one step that reads a step's value, -1 where others want it too.
int follower(const Rewriter& r, int s) {
  const int y = r.step(s).outputs[0];
  const std::vector<int>& readers = r.readers(y);
  return !r.kept(y) && readers.size() == 1 ? readers[0] : -1;
}

bool has_fixed_weights(const Rewriter& r, int s) {
  // In bf16 a sum would be rounded once where it is rounded twice.
  return r.step(s).op->name() == "conv2d" && r.is_fixed(r.step(s).operands[1]) &&
         r.type(r.step(s).outputs[0]).dtype != DType::bf16;
}

// A normalisation with stored statistics: y = (conv(x, w) + bias - centre) * factor + shift.
void fold_normalisation(Rewriter& r, int conv) {
  const int s = follower(r, conv);
  if (s < 0 || !r.step(s).op->folds_into_weights()) return;
  const std::vector<int>& norm = r.step(s).operands;
  if (norm[0] != r.step(conv).outputs[0]) return;
  std::vector<int> values(r.step(conv).operands.begin() + 1, r.step(conv).operands.end());
  const std::size_t own = values.size();
  values.insert(values.end(), norm.begin() + 1, norm.end());
  for (int value : values) {
    if (!r.is_fixed(value)) return;
  }
  const OpRef op = r.step(s).op;
  const std::vector<int> folded = r.ahead(s, values, [&](std::span<const Var> v) {
    // x's place is not read.
    std::vector<Var> operands = {v[0]};
    operands.insert(operands.end(), v.begin() + static_cast<std::ptrdiff_t>(own), v.end());
    const std::vector<Var> affine = op->channel_affine(operands);
    const Var centre = affine[0], factor = affine[1], shift = affine[2];
    const Var offset = own > 1 ? sub(v[1], centre) : neg(centre);
    return std::vector<Var>{mul(v[0], reshape_all(factor, {factor.shape()[0], 1, 1, 1})),
                            add(mul(offset, factor), shift)};
  });
  r.replace(s, r.step(conv).op, {r.step(conv).operands[0], folded[0], folded[1]}, conv);
}

// One convolution and what has been found to follow it.
struct Chain {
  OpRef conv;
  std::vector<int> operands;  // x, w, bias
  int residual = -1;
  Bounds bounds = {};
  int last;  // the step whose place it takes
};

void add_residual(const Rewriter& r, Chain& chain) {
  const int s = follower(r, chain.last);
  if (s < 0 || chain.operands.size() < 3 || r.step(s).op->name() != "add") return;
  const int y = r.step(chain.last).outputs[0];
  const std::vector<int>& operands = r.step(s).operands;
  const int other = operands[0] == y ? operands[1] : operands[0];
  if (other == y || r.type(other) != r.type(y)) return;
  chain.residual = other;
  chain.last = s;
}

void add_bounds(const Rewriter& r, Chain& chain) {
  const int s = follower(r, chain.last);
  const std::optional<Bounds> bounds = s >= 0 ? bounds_of(*r.step(s).op) : std::nullopt;
  if (!bounds) return;
  chain.bounds = *bounds;
  chain.last = s;
}

}  // namespace

void fold_batch_norm(Rewriter& r) {
  for (int s = 0; s < r.steps(); ++s) {
    if (has_fixed_weights(r, s)) fold_normalisation(r, s);
  }
}

void fuse_convolution(Rewriter& r) {
  for (int s = 0; s < r.steps(); ++s) {
    if (!has_fixed_weights(r, s)) continue;
    Chain chain{.conv = r.step(s).op, .operands = r.step(s).operands, .last = s};
    add_residual(r, chain);
    add_bounds(r, chain);
    if (chain.residual >= 0) chain.operands.push_back(chain.residual);
    r.replace(chain.last,
              std::make_shared<FusedConv2d>(chain.conv, chain.residual >= 0, chain.bounds),
              std::move(chain.operands), s);
  }
}

std::vector<Sample> conv2d_samples();

std::vector<Sample> conv2d_fused_samples() {
  std::vector<Sample> samples;
  for (Sample sample : conv2d_samples()) {
    const OpRef conv = sample.op;
    const auto with = [&](const char* what, bool residual, Bounds bounds) {
      Sample made = sample;
      made.label = fmt::format("{}, {}", sample.label, what);
      made.op = std::make_shared<FusedConv2d>(conv, residual, bounds);
      if (residual) {
        std::vector<Type> types;
        for (const OperandSpec& spec : sample.operands) types.push_back(spec.type);
        made.operands.push_back(normal(conv->infer(types)[0].shape));
      }
      samples.push_back(std::move(made));
    };
    with("plain", false, {-kInfinity, kInfinity});
    if (sample.operands.size() < 3) continue;
    with("residual", true, {-kInfinity, kInfinity});
    // A bias that decides the sign, where the sum is not as large: no kink near.
    const Shape& w = sample.operands[1].type.shape;
    if (w.elements(1, w.rank()) > 64) continue;
    sample.operands[2].values = OperandSpec::Values::far_from_zero;
    with("relu", false, {0, kInfinity});
    with("clamped", false, {-64, 0});
    with("residual, relu", true, {0, kInfinity});
  }
  return samples;
}

}  // namespace tapescope
