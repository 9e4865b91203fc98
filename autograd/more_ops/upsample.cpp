// Images {N, H, W, C} in another resolution, and the exact transposes of those maps.
#include "kernels/more_ops/upsample/upsample.h"

#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

enum class Method : std::uint8_t { nearest, bilinear };

class UpsampleBase : public Op {
 public:
  explicit UpsampleBase(Method method) : method_(method) {}
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::linear; }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  bool nonnegative_factors() const override { return true; }

 protected:
  double flops() const { return method_ == Method::nearest ? 0 : 8; }
  void check_image(const Type& x) const {
    if (x.shape.rank() != 4 || !is_floating(x.dtype) || x.shape[1] < 1 || x.shape[2] < 1) {
      throw usage_error("[{}] the image must be floating {{N,H,W,C}} with H, W >= 1, not {}",
                        name(), to_string(x));
    }
  }
  static UpsampleShape kernel_shape(const Type& x, const Shape& y) {
    return {x.dtype, y[0], x.shape[1], x.shape[2], y[3], y[1], y[2]};
  }
  Method method_;
};

// dy {N,P,Q,C}, like {N,H,W,C}
class UpsampleGradient final : public UpsampleBase {
 public:
  using UpsampleBase::UpsampleBase;
  std::string_view name() const override {
    return method_ == Method::nearest ? "upsample_nearest_gradient" : "upsample_bilinear_gradient";
  }
  void attributes(AttributeVisitor&) const override {}
  Types infer(std::span<const Type> t) const override {
    check_image(t[0]);
    check_image(t[1]);
    if (t[0].shape[0] != t[1].shape[0] || t[0].shape[3] != t[1].shape[3]) {
      throw usage_error("[{}] batch and channels must agree, but the shapes are {} and {}", name(),
                        to_string(t[0].shape), to_string(t[1].shape));
    }
    return {{t[0].dtype, t[1].shape}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(method_ == Method::nearest ? upsample_nearest_gradient_variants()
                                                   : upsample_bilinear_gradient_variants(),
                        kernel_shape(t[1], t[0].shape), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override;
  Role role(int operand) const override { return operand == 0 ? Role::signal : Role::shape; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    Cost cost = memory_cost(t.first(1), outputs, 0);
    cost.flops = flops() * static_cast<double>(t[0].elements());
    return cost;
  }
};

class Upsample final : public UpsampleBase {
 public:
  Upsample(Method method, std::int64_t height, std::int64_t width)
      : UpsampleBase(method), height_(height), width_(width) {}
  std::string_view name() const override {
    return method_ == Method::nearest ? "upsample_nearest" : "upsample_bilinear";
  }
  void attributes(AttributeVisitor& v) const override {
    v.visit("height", height_);
    v.visit("width", width_);
  }
  Types infer(std::span<const Type> t) const override {
    check_image(t[0]);
    if (height_ < 1 || width_ < 1) {
      throw usage_error("[{}] the new size must be at least 1x1, not {}x{}", name(), height_,
                        width_);
    }
    return {{t[0].dtype, {t[0].shape[0], height_, width_, t[0].shape[3]}}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type> outputs,
               const Backend& backend) const override {
    return prepare_from(
        method_ == Method::nearest ? upsample_nearest_variants() : upsample_bilinear_variants(),
        kernel_shape(t[0], outputs[0].shape), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    v.give(0, record<UpsampleGradient>({v.cotangent(), v.operand(0)}, method_));
  }
  Role role(int) const override { return Role::signal; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, flops());
  }

 private:
  std::int64_t height_, width_;
};

void UpsampleGradient::vjp(Vjp& v) const {
  const Shape& y = v.operand(0).shape();
  v.give(0, record<Upsample>({v.cotangent()}, method_, y[1], y[2]));
}

std::vector<Sample> forward_samples(Method method) {
  const auto op = [method](std::int64_t height, std::int64_t width) {
    return std::make_shared<Upsample>(method, height, width);
  };
  return {
      {"twice", op(6, 10), {normal({3, 3, 5, 2})}},
      {"uneven", op(5, 7), {normal({3, 3, 4, 1})}},
      {"from one pixel", op(3, 4), {normal({3, 1, 1, 3})}},
      {"smaller", op(2, 3), {normal({3, 5, 4, 2})}},
      {"empty batch", op(4, 4), {normal({0, 2, 2, 3})}},
  };
}

std::vector<Sample> gradient_samples(Method method) {
  const auto op = std::make_shared<UpsampleGradient>(method);
  return {
      {"twice", op, {normal({3, 6, 10, 2}), normal({3, 3, 5, 2})}},
      {"uneven", op, {normal({3, 5, 7, 1}), normal({3, 3, 4, 1})}},
      {"smaller", op, {normal({3, 2, 3, 2}), normal({3, 5, 4, 2})}},
      {"empty batch", op, {normal({0, 4, 4, 3}), normal({0, 2, 2, 3})}},
  };
}

}  // namespace

Var upsample_nearest(Var x, std::int64_t factor) {
  require_operands("upsample_nearest", {x});
  const Shape& shape = x.shape();
  const bool image = shape.rank() == 4;  // another rank is infer's to report
  return record<Upsample>({x}, Method::nearest, image ? shape[1] * factor : 1,
                          image ? shape[2] * factor : 1);
}

Var upsample_bilinear(Var x, std::int64_t height, std::int64_t width) {
  return record<Upsample>({x}, Method::bilinear, height, width);
}

std::vector<Sample> upsample_nearest_samples() { return forward_samples(Method::nearest); }
std::vector<Sample> upsample_bilinear_samples() { return forward_samples(Method::bilinear); }
std::vector<Sample> upsample_nearest_gradient_samples() {
  return gradient_samples(Method::nearest);
}
std::vector<Sample> upsample_bilinear_gradient_samples() {
  return gradient_samples(Method::bilinear);
}

}  // namespace tapescope
