// Dropout of relu(x), from x:
//
//   dropout(relu(x))                as relu_dropout(x); in its gradient
//   mask_positive(dropout(dy), ..)  as mask_positive(dy / (1 - p), relu_dropout(x))
#include <algorithm>

#include "autograd/ops/fused.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/program/passes.h"
#include "kernels/dropout/dropout.h"

namespace tapescope {
namespace {

// operands: x {N, ...}, step {} i64
class OfRelu final : public Op {
 public:
  explicit OfRelu(OpRef dropout)
      : dropout_(std::move(dropout)), mask_(*mask_of_dropout(*dropout_)) {}
  std::string_view name() const override { return "relu_dropout"; }
  void attributes(AttributeVisitor& v) const override { dropout_->attributes(v); }
  Types infer(std::span<const Type> t) const override { return dropout_->infer(t); }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    const Shape& shape = t[0].shape;
    return prepare_from(relu_dropout_variants(),
                        {t[0].dtype, shape[0], shape.elements(1, shape.rank()), mask_.p, mask_.key},
                        t[0].dtype, backend);
  }
  // Where y is positive both let pass; nowhere else does anything come through.
  void vjp(Vjp& v) const override {
    v.give(0, affine(mask_positive(v.cotangent(), v.output()), 1 / (1 - mask_.p)));
  }
  Role role(int operand) const override { return dropout_->role(operand); }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::monotone; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 2);
  }
  Footprint footprint() const override { return {}; }
  bool nonnegative() const override { return true; }
  bool may_overwrite(int operand, int) const override { return operand == 0; }
  std::vector<Var> decompose(Tape&, std::span<const Var> operands) const override {
    return {record(dropout_, {relu(operands[0]), operands[1]}).out()};
  }

 private:
  OpRef dropout_;
  DropoutMask mask_;
};

// Whether step `mask` is relu's vector-Jacobian product of that of dropout `drop`.
bool masks_dropout(const Rewriter& r, int mask, int rectified, int drop) {
  const Step& step = r.step(mask);
  if (step.op->name() != "mask_positive" || step.operands[1] != rectified) return false;
  const int back = step.operands[0];
  return r.maker(back) > drop &&
         describe(*r.step(r.maker(back)).op) == describe(*r.step(drop).op) &&
         r.step(r.maker(back)).operands[1] == r.step(drop).operands[1] &&
         r.read_only_by(back, {mask});
}

}  // namespace

void fuse_dropout(Rewriter& r) {
  for (int drop = 0; drop < r.steps(); ++drop) {
    const OpRef op = r.step(drop).op;
    const std::optional<DropoutMask> mask = mask_of_dropout(*op);
    if (!mask) continue;
    const int rectified = r.step(drop).operands[0];
    if (!r.is(rectified, "relu") || r.kept(rectified)) continue;
    std::vector<int> masks = r.readers(rectified);
    std::erase(masks, drop);
    if (!std::all_of(masks.begin(), masks.end(),
                     [&](int s) { return masks_dropout(r, s, rectified, drop); })) {
      continue;
    }
    r.replace(drop, std::make_shared<OfRelu>(op),
              {r.step(r.maker(rectified)).operands[0], r.step(drop).operands[1]});
    for (int s : masks) {
      const int back = r.step(s).operands[0];
      r.replace(r.maker(back), unary_op(Unary::affine, 1 / (1 - mask->p), 0),
                {r.step(r.maker(back)).operands[0]});
      r.replace(s, r.step(s).op, {back, r.step(drop).outputs[0]});
    }
  }
}

std::vector<Sample> dropout_samples();

std::vector<Sample> relu_dropout_samples() {
  std::vector<Sample> samples = dropout_samples();
  for (Sample& sample : samples) {
    sample.op = std::make_shared<OfRelu>(sample.op);
    sample.operands[0].values = OperandSpec::Values::away_from_zero;
  }
  return samples;
}

}  // namespace tapescope
