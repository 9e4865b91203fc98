// Conversion between dtypes. The gradient is converted back.
#include "kernels/more_ops/cast/cast.h"

#include "kernels/more_ops/cast/many.h"

#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/program/joined_op.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

class Cast final : public JoinedOp {
 public:
  explicit Cast(DType dtype) : dtype_(dtype) {}
  std::string_view name() const override { return "cast"; }
  void attributes(AttributeVisitor& v) const override { v.visit("dtype", name_of(dtype_)); }
  Types infer(std::span<const Type> t) const override { return {{dtype_, t[0].shape}}; }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(cast_variants(), {t[0].dtype, dtype_, t[0].elements()}, t[0].dtype,
                        backend);
  }
  Plan prepare_joined(std::span<const Joined> steps, std::int64_t pitch,
                      const Backend& backend) const override {
    std::vector<std::int64_t> n;
    for (const Joined& step : steps) {
      const auto& op = static_cast<const Cast&>(*step.op);
      if (op.dtype_ != DType::bf16 || step.operands[0].dtype != DType::f32) return {};
      n.push_back(step.operands[0].elements());
    }
    if (backend.choices.contains("cast")) return {};
    return gpu_plan<CastManyShape>("cast_many", {n, pitch}, DType::f32, backend);
  }
  int common_operands_from() const override { return 1; }
  void vjp(Vjp& v) const override {
    if (is_floating(v.operand(0).dtype()))
      v.give(0, cast(v.wide_cotangent(), v.operand(0).dtype()));
  }
  // Nothing flows through integers.
  Role role(int) const override { return is_floating(dtype_) ? Role::signal : Role::fixed; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::moves; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 0);
  }
  Footprint footprint() const override { return {}; }
  bool keeps_signs() const override { return true; }

 private:
  DType dtype_;
};

}  // namespace

Var cast(Var x, DType dtype) {
  require_operands("cast", {x});
  if (x.dtype() == dtype) return x;
  return record<Cast>({x}, dtype);
}

std::vector<Sample> cast_samples() {
  return {
      {"to f32", std::make_shared<Cast>(DType::f32), {normal({3, 33})}},
      {"to f64", std::make_shared<Cast>(DType::f64), {normal({3, 5})}},
      {"index to f32", std::make_shared<Cast>(DType::f32), {index({3, 4}, 10)}},
      {"empty batch", std::make_shared<Cast>(DType::f32), {normal({0, 2})}},
  };
}

}  // namespace tapescope
