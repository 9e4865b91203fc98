// conv2d and its two gradients: three ops, closed under the vector-Jacobian product.
#include "kernels/conv2d/conv2d.h"

#include "autograd/ops/fused.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

// What the three share: the options, and the kernel's shape read off x, w and y.
class Conv2dBase : public Op {
 public:
  explicit Conv2dBase(const Conv2dOptions& options) : options_(options) {}
  void attributes(AttributeVisitor& v) const override {
    v.visit("stride_h", options_.stride_h);
    v.visit("stride_w", options_.stride_w);
    v.visit("pad_h", options_.pad_h);
    v.visit("pad_w", options_.pad_w);
    v.visit("dilation_h", options_.dilation_h);
    v.visit("dilation_w", options_.dilation_w);
    v.visit("groups", options_.groups);
  }
  RelevanceClass relevance_class(unsigned active) const override {
    return (active & 3u) == 3u ? RelevanceClass::product : RelevanceClass::linear;
  }

 protected:
  // x {N,H,W,I}, w {O,KH,KW,I/groups}
  Conv2dShape kernel_shape(const Shape& x, const Shape& w, DType dtype, bool bias) const {
    Conv2dShape c;
    c.dtype = dtype;
    c.bias = bias;
    c.N = x[0], c.H = x[1], c.W = x[2], c.I = x[3];
    c.O = w[0], c.KH = w[1], c.KW = w[2];
    c.stride_h = options_.stride_h, c.stride_w = options_.stride_w;
    c.pad_h = options_.pad_h, c.pad_w = options_.pad_w;
    c.dilation_h = options_.dilation_h, c.dilation_w = options_.dilation_w;
    c.groups = options_.groups;
    return c;
  }
  Conv2dShape checked(const Type& x, const Type& w, bool bias) const {
    if (x.shape.rank() != 4 || w.shape.rank() != 4) {
      throw usage_error(
          "[{}] the image must be {{N,H,W,C}} and the weights {{O,KH,KW,I}}, not {} "
          "and {}",
          name(), to_string(x.shape), to_string(w.shape));
    }
    if (x.dtype != w.dtype || !is_floating(x.dtype)) {
      throw usage_error("[{}] image and weights must have one floating dtype, not {} and {}",
                        name(), name_of(x.dtype), name_of(w.dtype));
    }
    const Conv2dShape c = kernel_shape(x.shape, w.shape, x.dtype, bias);
    if (c.groups < 1 || c.I % c.groups != 0 || c.O % c.groups != 0 ||
        w.shape[3] != c.I / c.groups) {
      throw usage_error(
          "[{}] an image with {} channels and {} groups needs weights {{O,KH,KW,{}}} with O a "
          "multiple of the groups, but the weights are {}",
          name(), c.I, c.groups, c.groups >= 1 ? c.I / c.groups : 0, to_string(w.shape));
    }
    if (c.stride_h < 1 || c.stride_w < 1 || c.dilation_h < 1 || c.dilation_w < 1 || c.pad_h < 0 ||
        c.pad_w < 0) {
      throw usage_error("[{}] stride and dilation must be at least 1 and padding at least 0",
                        name());
    }
    if (c.P() < 1 || c.Q() < 1) {
      throw usage_error(
          "[{}] a {}x{} kernel (dilation {}x{}, padding {}x{}) does not fit an image "
          "of {}x{}; use larger images",
          name(), c.KH, c.KW, c.dilation_h, c.dilation_w, c.pad_h, c.pad_w, c.H, c.W);
    }
    return c;
  }
  void check_output(const Conv2dShape& c, const Type& dy) const {
    if (dy.shape != Shape{c.N, c.P(), c.Q(), c.O}) {
      throw usage_error("[{}] the output's gradient has shape {}, expected {}", name(),
                        to_string(dy.shape), to_string(Shape{c.N, c.P(), c.Q(), c.O}));
    }
  }
  Cost conv_cost(const Conv2dShape& c, std::span<const Type> operands,
                 std::span<const Type> outputs) const {
    Cost cost = memory_cost(operands, outputs, 0);
    cost.macs = c.macs();
    cost.flops = 2 * cost.macs + (c.bias ? static_cast<double>(c.N * c.P() * c.Q() * c.O) : 0);
    return cost;
  }
  Conv2dOptions options_;
};

class Conv2d final : public Conv2dBase {
 public:
  Conv2d(const Conv2dOptions& options, std::int64_t kernel_h, std::int64_t kernel_w)
      : Conv2dBase(options), kernel_h_(kernel_h), kernel_w_(kernel_w) {}
  std::string_view name() const override { return "conv2d"; }
  Types infer(std::span<const Type> t) const override {
    const Conv2dShape c = checked(t[0], t[1], t.size() > 2);
    if (const Type bias{wide(t[0].dtype), {c.O}}; c.bias && t[2] != bias) {
      throw usage_error("[conv2d] the bias must be {} for {} output channels, not {}",
                        to_string(bias), c.O, to_string(t[2]));
    }
    return {{t[0].dtype, {c.N, c.P(), c.Q(), c.O}}};
  }
  Conv2dShape shape_of(std::span<const Type> t) const {
    return kernel_shape(t[0].shape, t[1].shape, t[0].dtype, t.size() > 2);
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(conv2d_variants(), shape_of(t), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    const Var dy = v.cotangent(), x = v.operand(0), w = v.operand(1);
    if (v.wants(0)) v.give(0, conv2d_data_gradient(dy, w, x, options_));
    if (v.wants(1)) v.give(1, conv2d_weight_gradient(x, dy, w, options_));
    if (v.wants(2)) v.give(2, reduce_like(dy, v.operand(2)));
  }
  Role role(int operand) const override {
    return operand == 0 ? Role::signal : operand == 1 ? Role::weight : Role::bias;
  }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return conv_cost(shape_of(t), t, outputs);
  }
  Footprint footprint() const override {
    return {Footprint::Kind::window, kernel_h_,           kernel_w_,
            options_.stride_h,       options_.stride_w,   options_.pad_h,
            options_.pad_w,          options_.dilation_h, options_.dilation_w};
  }
  int channel_axis() const override { return 0; }
  OpRef without_padding() const override {
    Conv2dOptions options = options_;
    options.pad_h = options.pad_w = 0;
    return std::make_shared<Conv2d>(options, kernel_h_, kernel_w_);
  }

 private:
  std::int64_t kernel_h_, kernel_w_;  // known from the weights; kept for footprint()
};

class Conv2dDataGradient final : public Conv2dBase {
 public:
  using Conv2dBase::Conv2dBase;
  std::string_view name() const override { return "conv2d_data_gradient"; }
  // dy {N,P,Q,O}, w {O,KH,KW,I/groups}, like {N,H,W,I}
  Types infer(std::span<const Type> t) const override {
    check_output(checked(t[2], t[1], false), t[0]);
    return {{t[0].dtype, t[2].shape}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    const Conv2dShape c = kernel_shape(t[2].shape, t[1].shape, t[0].dtype, false);
    return prepare_from(conv2d_data_gradient_variants(), c, c.dtype, backend);
  }
  void vjp(Vjp& v) const override {
    const Var ddx = v.cotangent();
    if (v.wants(0)) v.give(0, conv2d(ddx, v.operand(1), {}, options_));
    if (v.wants(1)) v.give(1, conv2d_weight_gradient(ddx, v.operand(0), v.operand(1), options_));
  }
  Role role(int operand) const override {
    return operand == 0 ? Role::signal : operand == 1 ? Role::weight : Role::shape;
  }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return conv_cost(kernel_shape(t[2].shape, t[1].shape, t[0].dtype, false), t.first(2), outputs);
  }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
};

class Conv2dWeightGradient final : public Conv2dBase {
 public:
  using Conv2dBase::Conv2dBase;
  std::string_view name() const override { return "conv2d_weight_gradient"; }
  // x {N,H,W,I}, dy {N,P,Q,O}, like {O,KH,KW,I/groups}
  Types infer(std::span<const Type> t) const override {
    check_output(checked(t[0], t[2], false), t[1]);
    return {{wide(t[0].dtype), t[2].shape}};
  }
  Conv2dShape shape_of(std::span<const Type> t) const {
    return kernel_shape(t[0].shape, t[2].shape, t[0].dtype, false);
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(conv2d_weight_gradient_variants(), shape_of(t), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    const Var ddw = cast(v.cotangent(), v.operand(0).dtype());
    if (v.wants(0)) v.give(0, conv2d_data_gradient(v.operand(1), ddw, v.operand(0), options_));
    if (v.wants(1)) v.give(1, conv2d(v.operand(0), ddw, {}, options_));
  }
  Role role(int operand) const override { return operand == 2 ? Role::shape : Role::signal; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return conv_cost(shape_of(t), t.first(2), outputs);
  }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  bool rows_independent() const override { return false; }
  bool adds_rows() const override { return true; }
};

// The cases each of the three is tested on: {x, w} and options.
struct Case {
  const char* label;
  Shape x, w;
  Conv2dOptions options;
};
const Case kCases[] = {
    {"3x3", {3, 5, 6, 2}, {4, 3, 3, 2}, {.pad_h = 1, .pad_w = 1}},
    {"5x5", {3, 7, 7, 1}, {3, 5, 5, 1}, {}},
    {"1x1", {3, 4, 3, 5}, {7, 1, 1, 5}, {}},
    {"strided", {3, 7, 8, 3}, {2, 3, 3, 3}, {.stride_h = 2, .stride_w = 3, .pad_h = 1}},
    {"dilated", {3, 8, 7, 2}, {3, 3, 2, 2}, {.pad_h = 2, .dilation_h = 2, .dilation_w = 3}},
    {"grouped", {3, 5, 5, 4}, {6, 3, 3, 2}, {.pad_h = 1, .pad_w = 1, .groups = 2}},
    {"depthwise", {3, 5, 5, 3}, {3, 3, 3, 1}, {.pad_h = 1, .pad_w = 1, .groups = 3}},
    {"depthwise 5x3", {3, 8, 9, 85}, {85, 5, 3, 1}, {2, 3, 3, 1, 1, 2, 85}},
    {"channels", {3, 9, 9, 17}, {33, 3, 3, 17}, {.pad_h = 1, .pad_w = 1}},
    {"packs", {3, 5, 5, 32}, {40, 3, 3, 32}, {.pad_h = 1, .pad_w = 1}},
    {"packs, strided", {3, 6, 7, 72}, {32, 2, 3, 72}, {.stride_h = 2, .stride_w = 2, .pad_w = 1}},
    {"empty batch", {0, 5, 5, 2}, {3, 3, 3, 2}, {}},
};

Shape output_shape(const Case& c) {
  Conv2dShape k;
  k.H = c.x[1], k.W = c.x[2], k.KH = c.w[1], k.KW = c.w[2];
  k.stride_h = c.options.stride_h, k.stride_w = c.options.stride_w;
  k.pad_h = c.options.pad_h, k.pad_w = c.options.pad_w;
  k.dilation_h = c.options.dilation_h, k.dilation_w = c.options.dilation_w;
  return {c.x[0], k.P(), k.Q(), c.w[0]};
}

}  // namespace

Var conv2d(Var x, Var weight, Var bias, const Conv2dOptions& options) {
  // A weight of the wrong rank is infer's to report.
  const bool ok = weight && weight.shape().rank() == 4;
  return record<Conv2d>({lowered(x), lowered(weight), bias}, options, ok ? weight.shape()[1] : 1,
                        ok ? weight.shape()[2] : 1);
}

Var conv2d_data_gradient(Var dy, Var weight, Var like, const Conv2dOptions& options) {
  return record<Conv2dDataGradient>({dy, weight, like}, options);
}

Var conv2d_weight_gradient(Var x, Var dy, Var like, const Conv2dOptions& options) {
  return record<Conv2dWeightGradient>({x, dy, like}, options);
}

std::optional<Conv2dShape> shape_of_conv2d(const Op& op, std::span<const Type> operands) {
  const auto* conv = dynamic_cast<const Conv2d*>(&op);
  return conv != nullptr ? std::optional(conv->shape_of(operands)) : std::nullopt;
}

std::optional<Conv2dShape> shape_of_weight_gradient(const Op& op, std::span<const Type> operands) {
  const auto* gradient = dynamic_cast<const Conv2dWeightGradient*>(&op);
  return gradient != nullptr ? std::optional(gradient->shape_of(operands)) : std::nullopt;
}

std::vector<Sample> conv2d_samples() {
  std::vector<Sample> samples;
  for (const Case& c : kCases) {
    const OpRef op = std::make_shared<Conv2d>(c.options, c.w[1], c.w[2]);
    samples.push_back({c.label, op, {normal(c.x), fixed_extent(normal(c.w))}});
    samples.push_back({std::string(c.label) + " with bias",
                       op,
                       {normal(c.x), fixed_extent(normal(c.w)), per_channel(normal({c.w[0]}))}});
  }
  return samples;
}

std::vector<Sample> conv2d_data_gradient_samples() {
  std::vector<Sample> samples;
  for (const Case& c : kCases) {
    samples.push_back({c.label,
                       std::make_shared<Conv2dDataGradient>(c.options),
                       {normal(output_shape(c)), fixed_extent(normal(c.w)), normal(c.x)}});
  }
  return samples;
}

std::vector<Sample> conv2d_weight_gradient_samples() {
  std::vector<Sample> samples;
  for (const Case& c : kCases) {
    samples.push_back({c.label,
                       std::make_shared<Conv2dWeightGradient>(c.options),
                       {normal(c.x), normal(output_shape(c)), fixed_extent(normal(c.w))}});
  }
  return samples;
}

}  // namespace tapescope
