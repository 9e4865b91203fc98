// Another shape for the same memory.
#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

class Reshape final : public Op {
 public:
  // With keep_leading, `shape` is that of one sample and the leading axis stays.
  Reshape(Shape shape, bool keep_leading) : shape_(shape), keep_leading_(keep_leading) {}
  std::string_view name() const override { return "reshape"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("shape", shape_);
    v.visit("keep_leading", static_cast<std::int64_t>(keep_leading_));
  }
  Types infer(std::span<const Type> t) const override {
    const Shape& from = t[0].shape;
    if (keep_leading_ && from.rank() == 0) {
      throw usage_error("[reshape] a scalar has no leading axis to keep");
    }
    const Shape to = keep_leading_ ? shape_.with_leading(from[0]) : shape_;
    const std::int64_t have = keep_leading_ ? from.elements(1, from.rank()) : from.elements();
    if (have != shape_.elements()) {
      throw usage_error("[reshape] {} has {} elements{} and cannot become {} with {}",
                        to_string(from), have, keep_leading_ ? " per sample" : "",
                        to_string(shape_), shape_.elements());
    }
    return {{t[0].dtype, to}};
  }
  Plan prepare(std::span<const Type>, std::span<const Type>, const Backend&) const override {
    return {};  // an alias has no kernel
  }
  void vjp(Vjp& v) const override {
    const Shape& from = v.operand(0).shape();
    v.give(0, keep_leading_ ? reshape(v.cotangent(), from.without_leading())
                            : reshape_all(v.cotangent(), from));
  }
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::moves; }
  Cost cost(std::span<const Type>, std::span<const Type>) const override { return {}; }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  int alias() const override { return 0; }
  bool keeps_signs() const override { return true; }
  bool rows_independent() const override { return keep_leading_; }

 private:
  Shape shape_;
  bool keep_leading_;
};

}  // namespace

Var reshape(Var x, Shape per_sample) { return record<Reshape>({x}, per_sample, true); }

Var reshape_all(Var x, Shape shape) { return record<Reshape>({x}, shape, false); }

Var flatten(Var x) {
  require_operands("flatten", {x});
  const Shape& shape = x.shape();
  if (shape.rank() == 0) throw usage_error("[flatten] a scalar has no batch axis to keep");
  const std::int64_t per_sample = shape.elements(1, shape.rank());
  if (shape.rank() == 4 && shape[3] > 1 && shape[1] * shape[2] > 1) {
    constexpr int kToChannelsFirst[] = {0, 3, 1, 2};
    x = transpose(x, kToChannelsFirst);
  }
  return reshape(x, {per_sample});
}

std::vector<Sample> reshape_samples() {
  return {
      {"per sample", std::make_shared<Reshape>(Shape{4, 5}, true), {normal({3, 20})}},
      {"to rows", std::make_shared<Reshape>(Shape{24}, true), {normal({3, 2, 3, 4})}},
      {"empty batch", std::make_shared<Reshape>(Shape{6}, true), {normal({0, 2, 3})}},
      {"everything", std::make_shared<Reshape>(Shape{2, 3}, false), {fixed_extent(normal({6}))}},
  };
}

}  // namespace tapescope
