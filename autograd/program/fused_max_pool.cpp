// The largest of windows of relu(x), from x: max_pool2d(relu(x)) as max_pool2d_relu(x). Its index
// says where nothing goes back: the scatter of its cotangent is relu's cotangent already, and needs
// no mask_positive.
#include <algorithm>

#include "autograd/ops/fused.h"
#include "autograd/ops/samples.h"
#include "autograd/program/passes.h"

namespace tapescope {
namespace {

// A max_pool2d that puts relu behind it: operands x {N,H,W,C} -> y, index {N,P,Q,C}, kNoPlace where
// relu lets nothing back.
class MaxPoolOfRelu final : public Op {
 public:
  explicit MaxPoolOfRelu(OpRef pool) : pool_(std::move(pool)) {}
  std::string_view name() const override { return "max_pool2d_relu"; }
  void attributes(AttributeVisitor& v) const override { pool_->attributes(v); }
  Types infer(std::span<const Type> t) const override { return pool_->infer(t); }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    Pool2dShape k = shape_of_max_pool(*pool_, t[0]).value();
    k.relu = true;
    return prepare_from(max_pool2d_variants(), k, k.dtype, backend);
  }
  void vjp(Vjp& v) const override { pool_->vjp(v); }
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return pool_->cost(t, outputs);
  }
  Footprint footprint() const override { return pool_->footprint(); }
  bool nonnegative() const override { return true; }

 private:
  OpRef pool_;
};

// The steps that read relu's result beside one pool, for its shape, by the vector-Jacobian products
// of the pool and of relu. Nothing where others do, or where they need what relu lets through.
struct Backward {
  std::vector<int> scatters, masks;
};
std::optional<Backward> backward_of(const Rewriter& r, int rectified, int pool) {
  Backward found;
  const int index = r.step(pool).outputs[1];
  for (int s : r.readers(rectified)) {
    const Step& step = r.step(s);
    if (s == pool) continue;
    if (step.op->name() == "max_pool2d_scatter" && step.operands[2] == rectified &&
        step.operands[1] == index) {
      found.scatters.push_back(s);
    } else if (step.op->name() == "mask_positive" && step.operands[1] == rectified) {
      found.masks.push_back(s);
    } else {
      return std::nullopt;
    }
  }
  const auto is_scatter = [&](int s) {
    return std::find(found.scatters.begin(), found.scatters.end(), s) != found.scatters.end();
  };
  bool alone = !r.kept(rectified) && r.read_only_by(index, found.scatters);
  for (int s : found.scatters) alone = alone && r.read_only_by(r.step(s).outputs[0], found.masks);
  for (int s : found.masks) alone = alone && is_scatter(r.maker(r.step(s).operands[0]));
  return alone ? std::optional(found) : std::nullopt;
}

}  // namespace

void fuse_max_pool(Rewriter& r) {
  for (int pool = 0; pool < r.steps(); ++pool) {
    const OpRef op = r.step(pool).op;
    if (op->name() != "max_pool2d" || !r.is(r.step(pool).operands[0], "relu")) continue;
    const int rectified = r.step(pool).operands[0];
    const int x = r.step(r.maker(rectified)).operands[0];
    const std::optional<Backward> backward = backward_of(r, rectified, pool);
    if (!backward) continue;
    r.replace(pool, std::make_shared<MaxPoolOfRelu>(op), {x});
    for (int s : backward->scatters) {
      std::vector<int> operands = r.step(s).operands;
      operands[2] = x;
      r.replace(s, r.step(s).op, std::move(operands));
    }
    for (int s : backward->masks) r.substitute(r.step(s).outputs[0], r.step(s).operands[0]);
  }
}

std::vector<Sample> max_pool2d_samples();

std::vector<Sample> max_pool2d_relu_samples() {
  std::vector<Sample> samples = max_pool2d_samples();
  for (Sample& sample : samples) sample.op = std::make_shared<MaxPoolOfRelu>(sample.op);
  return samples;
}

}  // namespace tapescope
