// One element per row by index, and its adjoint.
#include "kernels/more_ops/gather/gather.h"

#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

void require_index(const Type& index, std::int64_t rows, std::string_view op) {
  if (index != Type{DType::i64, {rows}}) {
    throw usage_error("[{}] the index must be {} for {} rows, not {}", op,
                      to_string(Type{DType::i64, {rows}}), rows, to_string(index));
  }
}

class GatherBase : public Op {
 public:
  void attributes(AttributeVisitor&) const override {}
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::moves; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t.last(1), outputs, 0);
  }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  bool keeps_signs() const override { return true; }
};

// x {N,C}, index {N} -> {N}
class Gather final : public GatherBase {
 public:
  std::string_view name() const override { return "gather"; }
  Types infer(std::span<const Type> t) const override {
    if (t[0].shape.rank() != 2) {
      throw usage_error("[gather] scores must be {{N, classes}}, not {}", to_string(t[0].shape));
    }
    require_index(t[1], t[0].shape[0], name());
    return {{t[0].dtype, {t[0].shape[0]}}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(gather_rows_element_variants(), {t[0].dtype, t[0].shape[0], t[0].shape[1]},
                        t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override { v.give(0, scatter(v.cotangent(), v.operand(1), v.operand(0))); }
  Role role(int operand) const override { return operand == 0 ? Role::signal : Role::fixed; }
};

// g {N}, index {N}, like {N,C} -> {N,C}
class Scatter final : public GatherBase {
 public:
  std::string_view name() const override { return "scatter"; }
  Types infer(std::span<const Type> t) const override {
    if (t[2].shape.rank() != 2 || t[0].shape != Shape{t[2].shape[0]}) {
      throw usage_error("[scatter] values must be {{N}} for rows {{N, classes}}, not {} for {}",
                        to_string(t[0].shape), to_string(t[2].shape));
    }
    require_index(t[1], t[0].shape[0], name());
    return {{t[0].dtype, t[2].shape}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(scatter_rows_element_variants(), {t[0].dtype, t[2].shape[0], t[2].shape[1]},
                        t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override { v.give(0, gather(v.cotangent(), v.operand(1))); }
  Role role(int operand) const override {
    return operand == 0 ? Role::signal : operand == 1 ? Role::fixed : Role::shape;
  }
};

}  // namespace

Var gather(Var x, Var index) { return record<Gather>({x, index}); }
Var scatter(Var g, Var index, Var like) { return record<Scatter>({g, index, like}); }

std::vector<Sample> gather_samples() {
  const auto op = std::make_shared<Gather>();
  return {{"classes", op, {normal({3, 10}), index({3}, 10)}},
          {"one class", op, {normal({3, 1}), index({3}, 1)}},
          {"empty batch", op, {normal({0, 4}), index({0}, 4)}}};
}
std::vector<Sample> scatter_samples() {
  const auto op = std::make_shared<Scatter>();
  return {{"classes", op, {normal({3}), index({3}, 10), normal({3, 10})}},
          {"empty batch", op, {normal({0}), index({0}, 4), normal({0, 4})}}};
}

}  // namespace tapescope
