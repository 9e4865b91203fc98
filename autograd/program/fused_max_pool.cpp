// The largest of windows of relu(x), from x.
#include "autograd/ops/fused.h"
#include "autograd/ops/samples.h"
#include "autograd/program/fused_ops.h"

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

}  // namespace

OpRef max_pool2d_of_relu(OpRef pool) { return std::make_shared<MaxPoolOfRelu>(std::move(pool)); }

std::vector<Sample> max_pool2d_samples();

std::vector<Sample> max_pool2d_relu_samples() {
  std::vector<Sample> samples = max_pool2d_samples();
  for (Sample& sample : samples) sample.op = max_pool2d_of_relu(sample.op);
  return samples;
}

}  // namespace tapescope
