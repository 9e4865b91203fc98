// Counting on the tape. Integers have no gradient.
#include "kernels/increment/increment.h"

#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

class Increment final : public Op {
 public:
  std::string_view name() const override { return "increment"; }
  void attributes(AttributeVisitor&) const override {}
  Types infer(std::span<const Type> t) const override {
    if (t[0].dtype != DType::i64) {
      throw usage_error("[increment] counts in i64, not {}", to_string(t[0]));
    }
    return {t[0]};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(increment_variants(), {t[0].elements()}, DType::i64, backend);
  }
  void vjp(Vjp&) const override {}
  Role role(int) const override { return Role::fixed; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 0);
  }
  Footprint footprint() const override { return {}; }
  bool may_overwrite(int, int) const override { return true; }
};

}  // namespace

Var increment(Var x) { return record<Increment>({x}); }

std::vector<Sample> increment_samples() {
  return {{"scalar", std::make_shared<Increment>(), {fixed_extent(index({}, 100))}},
          {"rows", std::make_shared<Increment>(), {index({3, 2}, 100)}}};
}

}  // namespace tapescope
