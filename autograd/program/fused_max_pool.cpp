// The largest of windows of relu(x), from x.
#include "autograd/ops/fused.h"
#include "autograd/ops/samples.h"
#include "autograd/program/fused_ops.h"
#include "kernels/pool2d/pool2d.h"

namespace tapescope {
namespace {

// A max_pool2d that puts relu behind it: operands x {N,H,W,C} -> y, index {N,P,Q,C}, kNoPlace where
// relu lets nothing back.
class MaxPoolOfRelu final : public Op {
 public:
  explicit MaxPoolOfRelu(OpRef pool) : pool_(std::move(pool)), o_(*windows_of_max_pool(*pool_)) {}
  std::string_view name() const override { return "max_pool2d_relu"; }
  void attributes(AttributeVisitor& v) const override { pool_->attributes(v); }
  Types infer(std::span<const Type> t) const override { return pool_->infer(t); }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    const Shape& x = t[0].shape;
    Pool2dShape k{t[0].dtype, x[0], x[1], x[2], x[3], o_.kernel_h, o_.kernel_w};
    k.stride_h = o_.stride_h, k.stride_w = o_.stride_w, k.pad_h = o_.pad_h, k.pad_w = o_.pad_w;
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
  Pool2dOptions o_;
};

}  // namespace

OpRef max_pool2d_of_relu(const OpRef& op) {
  return windows_of_max_pool(*op) ? std::make_shared<MaxPoolOfRelu>(op) : nullptr;
}

std::vector<Sample> max_pool2d_samples();

std::vector<Sample> max_pool2d_relu_samples() {
  std::vector<Sample> samples = max_pool2d_samples();
  for (Sample& sample : samples) sample.op = max_pool2d_of_relu(sample.op);
  return samples;
}

}  // namespace tapescope
