// Pooling: {maximum, scatter, gather} and {average, its gradient} are closed under the
// vector-Jacobian product.
#include "kernels/pool2d/pool2d.h"

#include <limits>

#include "autograd/ops/fused.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

class PoolBase : public Op {
 public:
  explicit PoolBase(const Pool2dOptions& options) : options_(options) {}
  void attributes(AttributeVisitor& v) const override {
    v.visit("kernel_h", options_.kernel_h);
    v.visit("kernel_w", options_.kernel_w);
    v.visit("stride_h", options_.stride_h);
    v.visit("stride_w", options_.stride_w);
    v.visit("pad_h", options_.pad_h);
    v.visit("pad_w", options_.pad_w);
  }
  Footprint footprint() const override { return {Footprint::Kind::global}; }

 protected:
  Pool2dShape shape_of(const Type& x) const {
    Pool2dShape k;
    k.dtype = x.dtype;
    k.N = x.shape[0], k.H = x.shape[1], k.W = x.shape[2], k.C = x.shape[3];
    k.KH = options_.kernel_h, k.KW = options_.kernel_w;
    k.stride_h = options_.stride_h, k.stride_w = options_.stride_w;
    k.pad_h = options_.pad_h, k.pad_w = options_.pad_w;
    k.count_include_pad = options_.count_include_pad;
    return k;
  }
  Pool2dShape checked(const Type& x) const {
    if (x.shape.rank() != 4 || !is_floating(x.dtype)) {
      throw usage_error("[{}] the image must be floating {{N,H,W,C}}, not {}", name(),
                        to_string(x));
    }
    const Pool2dShape k = shape_of(x);
    if (k.KH < 1 || k.KW < 1 || k.stride_h < 1 || k.stride_w < 1 || k.pad_h < 0 || k.pad_w < 0 ||
        k.pad_h >= k.KH || k.pad_w >= k.KW) {
      throw usage_error(
          "[{}] window {}x{}, stride {}x{}, padding {}x{}: window and stride must be "
          "at least 1, and padding smaller than the window",
          name(), k.KH, k.KW, k.stride_h, k.stride_w, k.pad_h, k.pad_w);
    }
    if (k.H + 2 * k.pad_h < k.KH || k.W + 2 * k.pad_w < k.KW) {
      throw usage_error(
          "[{}] a {}x{} window (padding {}x{}) does not fit an image of {}x{}; use "
          "larger images",
          name(), k.KH, k.KW, k.pad_h, k.pad_w, k.H, k.W);
    }
    return k;
  }
  Type output_type(const Pool2dShape& k, DType dtype) const {
    return {dtype, {k.N, k.P(), k.Q(), k.C}};
  }
  void check_output(const Type& expected, const Type& given, std::string_view what) const {
    if (given != expected) {
      throw usage_error("[{}] the {} must be {}, not {}", name(), what, to_string(expected),
                        to_string(given));
    }
  }
  // One addition or comparison for each position of each window.
  Cost window_cost(std::span<const Type> read, std::span<const Type> outputs,
                   const Type& pooled) const {
    Cost cost = memory_cost(read, outputs, 0);
    cost.flops = static_cast<double>(pooled.elements() * options_.kernel_h * options_.kernel_w);
    return cost;
  }
  Footprint window() const {
    return {Footprint::Kind::window, options_.kernel_h, options_.kernel_w, options_.stride_h,
            options_.stride_w,       options_.pad_h,    options_.pad_w};
  }
  Pool2dOptions unpadded() const {
    return {options_.kernel_h, options_.kernel_w, options_.stride_h, options_.stride_w};
  }
  Pool2dOptions options_;
};

// operands: dy {N,P,Q,C}, index {N,P,Q,C}, like {N,H,W,C} -> dx
class MaxPoolScatter final : public PoolBase {
 public:
  using PoolBase::PoolBase;
  std::string_view name() const override { return "max_pool2d_scatter"; }
  Types infer(std::span<const Type> t) const override {
    const Pool2dShape k = checked(t[2]);
    check_output(output_type(k, t[2].dtype), t[0], "output's gradient");
    check_output(output_type(k, DType::u8), t[1], "index");
    return {t[2]};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(max_pool2d_scatter_variants(), shape_of(t[2]), t[2].dtype, backend);
  }
  void vjp(Vjp& v) const override;
  Role role(int operand) const override {
    return operand == 0 ? Role::signal : operand == 1 ? Role::fixed : Role::shape;
  }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::linear; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return window_cost(t.first(2), outputs, t[0]);
  }
};

// operands: g {N,H,W,C}, index {N,P,Q,C} -> {N,P,Q,C}
class MaxPoolGather final : public PoolBase {
 public:
  using PoolBase::PoolBase;
  std::string_view name() const override { return "max_pool2d_gather"; }
  Types infer(std::span<const Type> t) const override {
    const Pool2dShape k = checked(t[0]);
    check_output(output_type(k, DType::u8), t[1], "index");
    return {output_type(k, t[0].dtype)};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(max_pool2d_gather_variants(), shape_of(t[0]), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    v.give(0, record<MaxPoolScatter>({v.cotangent(), v.operand(1), v.operand(0)}, options_));
  }
  Role role(int operand) const override { return operand == 0 ? Role::signal : Role::fixed; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::moves; }
  bool keeps_signs() const override { return true; }
  Cost cost(std::span<const Type>, std::span<const Type> outputs) const override {
    return memory_cost(outputs, outputs, 0);
  }
};

void MaxPoolScatter::vjp(Vjp& v) const {
  v.give(0, record<MaxPoolGather>({v.cotangent(), v.operand(1)}, options_));
}

// operands: x {N,H,W,C} -> y, index {N,P,Q,C}
class MaxPool final : public PoolBase {
 public:
  using PoolBase::PoolBase;
  std::string_view name() const override { return "max_pool2d"; }
  using PoolBase::shape_of;
  Types infer(std::span<const Type> t) const override {
    const Pool2dShape k = checked(t[0]);
    if (k.KH * k.KW > kLargestWindow) {
      throw usage_error(
          "[max_pool2d] a window of {}x{} has more than {} places; for the maximum of a "
          "whole image use reduce_max",
          k.KH, k.KW, kLargestWindow);
    }
    return {output_type(k, t[0].dtype), output_type(k, DType::u8)};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(max_pool2d_variants(), shape_of(t[0]), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    if (!v.cotangent()) return;
    v.give(0, record<MaxPoolScatter>({v.cotangent(), v.output(1), v.operand(0)}, options_));
  }
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::selects; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return window_cost(t, outputs, outputs[0]);
  }
  Footprint footprint() const override { return window(); }
  bool keeps_signs() const override { return true; }
  OpRef without_padding() const override { return std::make_shared<MaxPool>(unpadded()); }
  double padding_value() const override { return std::numeric_limits<float>::lowest(); }
};

class AvgPoolBase : public PoolBase {
 public:
  using PoolBase::PoolBase;
  void attributes(AttributeVisitor& v) const override {
    PoolBase::attributes(v);
    v.visit("count_include_pad", static_cast<std::int64_t>(options_.count_include_pad));
  }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::linear; }
};

// operands: dy {N,P,Q,C}, like {N,H,W,C} -> dx
class AvgPoolGradient final : public AvgPoolBase {
 public:
  using AvgPoolBase::AvgPoolBase;
  std::string_view name() const override { return "avg_pool2d_gradient"; }
  Types infer(std::span<const Type> t) const override {
    check_output(output_type(checked(t[1]), t[1].dtype), t[0], "output's gradient");
    return {t[1]};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(avg_pool2d_gradient_variants(), shape_of(t[1]), t[1].dtype, backend);
  }
  void vjp(Vjp& v) const override { v.give(0, avg_pool2d(v.cotangent(), options_)); }
  Role role(int operand) const override { return operand == 0 ? Role::signal : Role::shape; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return window_cost(t.first(1), outputs, t[0]);
  }
};

class AvgPool final : public AvgPoolBase {
 public:
  using AvgPoolBase::AvgPoolBase;
  std::string_view name() const override { return "avg_pool2d"; }
  Types infer(std::span<const Type> t) const override {
    return {output_type(checked(t[0]), t[0].dtype)};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(avg_pool2d_variants(), shape_of(t[0]), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    v.give(0, record<AvgPoolGradient>({v.cotangent(), v.operand(0)}, options_));
  }
  Role role(int) const override { return Role::signal; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return window_cost(t, outputs, outputs[0]);
  }
  Footprint footprint() const override { return window(); }
  bool nonnegative_factors() const override { return true; }
  OpRef without_padding() const override {  // padding that is not counted is no value
    const bool counted = options_.count_include_pad || options_.pad_h + options_.pad_w == 0;
    return counted ? std::make_shared<AvgPool>(unpadded()) : nullptr;
  }
};

struct PoolCase {
  const char* label;
  Shape x;
  Pool2dOptions options;
};
const PoolCase kPoolCases[] = {
    {"2x2", {3, 4, 6, 5}, {}},
    {"odd image", {3, 5, 7, 2}, {}},
    {"overlapping", {3, 5, 6, 3}, {3, 3, 1, 2, 1, 1}},
    {"stem", {3, 7, 7, 17}, {3, 3, 2, 2, 1, 1}},
    {"uneven", {3, 6, 5, 1}, {3, 2, 2, 3, 0, 1}},
    {"pad not counted", {3, 5, 5, 2}, {3, 3, 2, 2, 1, 1, false}},
    {"whole image", {3, 15, 17, 2}, {15, 17, 1, 1}},  // the largest window there is
    {"1x1", {3, 3, 2, 4}, {1, 1, 1, 1}},
    {"empty batch", {0, 4, 4, 2}, {}},
};

Shape pooled(const PoolCase& c) {
  const Pool2dOptions& o = c.options;
  return {c.x[0], (c.x[1] + 2 * o.pad_h - o.kernel_h) / o.stride_h + 1,
          (c.x[2] + 2 * o.pad_w - o.kernel_w) / o.stride_w + 1, c.x[3]};
}

OperandSpec window_index(const PoolCase& c) {
  OperandSpec spec = index(pooled(c), c.options.kernel_h * c.options.kernel_w);
  spec.type.dtype = DType::u8;
  return spec;
}

template <class Operands>
std::vector<Sample> samples_of(auto make, Operands operands, bool padded) {
  std::vector<Sample> samples;
  for (const PoolCase& c : kPoolCases) {
    // A position in the padding is no index that max_pool2d gives.
    if (!padded && (c.options.pad_h > 0 || c.options.pad_w > 0)) continue;
    samples.push_back({c.label, make(c.options), operands(c)});
  }
  return samples;
}

template <class OpType>
OpRef make(const Pool2dOptions& options) {
  return std::make_shared<OpType>(options);
}

}  // namespace

Var max_pool2d(Var x, const Pool2dOptions& options) { return record<MaxPool>({x}, options); }

std::optional<Pool2dShape> shape_of_max_pool(const Op& op, const Type& x) {
  const auto* pool = dynamic_cast<const MaxPool*>(&op);
  return pool != nullptr ? std::optional(pool->shape_of(x)) : std::nullopt;
}

Var avg_pool2d(Var x, const Pool2dOptions& options) { return record<AvgPool>({x}, options); }

Var global_avg_pool2d(Var x) {
  require_operands("global_avg_pool2d", {x});
  if (x.shape().rank() != 4) {
    throw usage_error("[global_avg_pool2d] the image must be {{N,H,W,C}}, not {}",
                      to_string(x.shape()));
  }
  constexpr int kImageAxes[] = {1, 2};
  return reshape(reduce_mean(x, kImageAxes), {x.shape()[3]});
}

std::vector<Sample> max_pool2d_samples() {
  return samples_of(
      make<MaxPool>,
      [](const PoolCase& c) -> std::vector<OperandSpec> {
        return {operand(c.x, OperandSpec::Values::distinct)};
      },
      true);
}
std::vector<Sample> max_pool2d_scatter_samples() {
  return samples_of(
      make<MaxPoolScatter>,
      [](const PoolCase& c) -> std::vector<OperandSpec> {
        return {normal(pooled(c)), window_index(c), normal(c.x)};
      },
      false);
}
std::vector<Sample> max_pool2d_gather_samples() {
  return samples_of(
      make<MaxPoolGather>,
      [](const PoolCase& c) -> std::vector<OperandSpec> {
        return {normal(c.x), window_index(c)};
      },
      false);
}
std::vector<Sample> avg_pool2d_samples() {
  return samples_of(
      make<AvgPool>, [](const PoolCase& c) -> std::vector<OperandSpec> { return {normal(c.x)}; },
      true);
}
std::vector<Sample> avg_pool2d_gradient_samples() {
  return samples_of(
      make<AvgPoolGradient>,
      [](const PoolCase& c) -> std::vector<OperandSpec> {
        return {normal(pooled(c)), normal(c.x)};
      },
      true);
}

}  // namespace tapescope
