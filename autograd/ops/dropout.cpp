// Dropout whose mask is recomputed, never stored.
#include "kernels/dropout/dropout.h"

#include "autograd/ops/fused.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"
#include "kernels/elementwise/elementwise.h"

namespace tapescope {
namespace {

// operands: x {N, ...}, step {} i64, and perhaps {} i64: the first row's number
class Dropout final : public Op {
 public:
  Dropout(double p, std::uint64_t key) : p_(p), key_(key) {}
  std::string_view name() const override { return "dropout"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("p", p_);
    v.visit("key", static_cast<std::int64_t>(key_));
  }
  Types infer(std::span<const Type> t) const override {
    const Type number{DType::i64, {}};
    if (t[0].shape.rank() < 1 || !is_floating(t[0].dtype) || t[1] != number ||
        (t.size() > 2 && t[2] != number)) {
      throw usage_error(
          "[dropout] needs a floating batch {{N, ...}} and a step i64 {{}}, not {} "
          "and {}",
          to_string(t[0]), to_string(t[1]));
    }
    return {t[0]};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    const Shape& shape = t[0].shape;
    return prepare_from(dropout_variants(),
                        {t[0].dtype, shape[0], shape.elements(1, shape.rank()), p_, key_},
                        t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    v.give(0, record<Dropout>({v.cotangent(), v.operand(1)}, p_, key_));
  }
  Role role(int operand) const override { return operand == 0 ? Role::signal : Role::fixed; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::linear; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 1);
  }
  Footprint footprint() const override { return {}; }
  bool keeps_signs() const override { return true; }
  // The mask is keyed by the row's place in the batch: row n alone would be masked as row 0.
  bool rows_independent() const override { return true; }
  bool may_overwrite(int operand, int) const override { return operand == 0; }
  double p() const { return p_; }
  std::uint64_t key() const { return key_; }

 private:
  double p_;
  std::uint64_t key_;
};

}  // namespace

Var dropout(Var x, double p) {
  require_operands("dropout", {x});
  if (!(p >= 0 && p < 1)) {
    throw usage_error("[dropout] the probability is {}; it must be at least 0 and below 1", p);
  }
  Tape& tape = x.tape();
  if (tape.mode() == Mode::evaluation || p == 0) return x;
  return record<Dropout>({x, tape.step()}, p, tape.random_key("dropout"));
}

std::optional<DropoutMask> mask_of_dropout(const Op& op) {
  const auto* drop = dynamic_cast<const Dropout*>(&op);
  return drop != nullptr ? std::optional(DropoutMask{drop->p(), drop->key()}) : std::nullopt;
}

std::vector<Sample> dropout_samples() {
  std::vector<Sample> samples;
  const OperandSpec step = fixed_extent(index({}, 1000));
  for (double p : {0.5, 0.1}) {
    const auto op = std::make_shared<Dropout>(p, 12345);
    samples.push_back({"rows", op, {normal({3, 37}), step}});
    samples.push_back({"images", op, {normal({3, 5, 4, 3}), step}});
  }
  samples.push_back({"empty batch", std::make_shared<Dropout>(0.5, 1), {normal({0, 4}), step}});
  return samples;
}

}  // namespace tapescope
