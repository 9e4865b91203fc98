#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"
#include "kernels/gather/gather.h"

namespace tapescope {
namespace {

// index {N} -> f32 {N, classes}
class OneHot final : public Op {
 public:
  explicit OneHot(std::int64_t classes) : classes_(classes) {}
  std::string_view name() const override { return "one_hot"; }
  void attributes(AttributeVisitor& v) const override { v.visit("classes", classes_); }
  Types infer(std::span<const Type> t) const override {
    if (t[0].dtype != DType::i64 || t[0].shape.rank() != 1) {
      throw usage_error("[one_hot] the index must be i64 {{N}}, not {}", to_string(t[0]));
    }
    return {{DType::f32, {t[0].shape[0], classes_}}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(one_hot_variants(), {DType::f32, t[0].shape[0], classes_}, DType::f32,
                        backend);
  }
  void vjp(Vjp&) const override {}
  Role role(int) const override { return Role::fixed; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type>, std::span<const Type> outputs) const override {
    return memory_cost(outputs, outputs, 0);
  }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  bool nonnegative() const override { return true; }

 private:
  std::int64_t classes_;
};

}  // namespace

Var one_hot(Var index, std::int64_t classes) { return record<OneHot>({index}, classes); }

std::vector<Sample> one_hot_samples() {
  return {{"classes", std::make_shared<OneHot>(7), {index({3}, 7)}},
          {"empty batch", std::make_shared<OneHot>(7), {index({0}, 7)}}};
}

}  // namespace tapescope
