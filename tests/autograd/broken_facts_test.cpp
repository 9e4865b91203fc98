// Ops that tell explanations what they are not: each false claim must turn its check red, and the
// op's own leave it green.
#include <gtest/gtest.h>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "tests/autograd/harness.h"

namespace tapescope {
namespace {

// Claims that replace an op's own.
struct Claims {
  std::optional<RelevanceClass> relevance = {};
  std::optional<int> weight = {}, channel_axis = {};
  std::optional<bool> nonnegative_factors = {}, keeps_signs = {}, constant_part = {};
  std::optional<bool> channels_last = {}, folds = {};
  std::optional<OpRef> without_padding = {};
  std::optional<double> padding_value = {};
  std::optional<Role> last = {};  // of the last of two operands
  bool swap_affine = false;       // the shift in place of the centre
};

class Claiming final : public Op {
 public:
  Claiming(OpRef op, Claims claims) : op_(std::move(op)), claims_(std::move(claims)) {}
  std::string_view name() const override { return op_->name(); }
  void attributes(AttributeVisitor& v) const override { op_->attributes(v); }
  Types infer(std::span<const Type> t) const override { return op_->infer(t); }
  Plan prepare(std::span<const Type> t, std::span<const Type> outputs,
               const Backend& backend) const override {
    return op_->prepare(t, outputs, backend);
  }
  void vjp(Vjp& v) const override { op_->vjp(v); }
  Role role(int operand) const override {
    return operand == 1 ? claims_.last.value_or(op_->role(operand)) : op_->role(operand);
  }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return op_->cost(t, outputs);
  }
  Footprint footprint() const override { return op_->footprint(); }
  int alias() const override { return op_->alias(); }

  RelevanceClass relevance_class(unsigned active) const override {
    return claims_.relevance.value_or(op_->relevance_class(active));
  }
  int weight_operand(unsigned active) const override {
    return claims_.weight.value_or(op_->weight_operand(active));
  }
  int channel_axis() const override { return claims_.channel_axis.value_or(op_->channel_axis()); }
  bool nonnegative_factors() const override {
    return claims_.nonnegative_factors.value_or(op_->nonnegative_factors());
  }
  bool keeps_signs() const override { return claims_.keeps_signs.value_or(op_->keeps_signs()); }
  bool has_constant_part() const override {
    return claims_.constant_part.value_or(op_->has_constant_part());
  }
  bool channels_last() const override {
    return claims_.channels_last.value_or(op_->channels_last());
  }
  bool folds_into_weights() const override {
    return claims_.folds.value_or(op_->folds_into_weights());
  }
  std::vector<Var> channel_affine(std::span<const Var> operands) const override {
    std::vector<Var> parts = op_->channel_affine(operands);
    if (claims_.swap_affine) std::swap(parts[0], parts[2]);
    return parts;
  }
  std::vector<Var> decompose(Tape& tape, std::span<const Var> operands) const override {
    return op_->decompose(tape, operands);
  }
  OpRef without_padding() const override {
    return claims_.without_padding.value_or(op_->without_padding());
  }
  double padding_value() const override {
    return claims_.padding_value.value_or(op_->padding_value());
  }

 private:
  OpRef op_;
  Claims claims_;
};

// The op's sample of that label (its first for ""), claiming.
Case claiming(std::string_view op, std::string_view label, Claims claims) {
  for (Case& c : cases(-1)) {
    if (c.sample.op->name() != op || (!label.empty() && c.sample.label != label)) continue;
    c.sample.op = std::make_shared<Claiming>(c.sample.op, std::move(claims));
    return c;
  }
  throw std::runtime_error(fmt::format("no sample '{}' of {}", label, op));
}

OpRef op_of(std::string_view op, std::string_view label) {
  for (const Case& c : cases(-1)) {
    if (c.sample.op->name() == op && c.sample.label == label) return c.sample.op;
  }
  throw std::runtime_error("no such sample");
}

struct False {
  Problems (*check)(const Case&);
  std::string op, label;
  Claims claims;
};

std::vector<False> false_claims() {
  constexpr auto kMoves = RelevanceClass::moves, kSelects = RelevanceClass::selects;
  return {
      {check_moves, "max_pool2d", "", {.relevance = kMoves}},
      {check_moves, "maximum", "", {.relevance = kMoves}},
      {check_moves, "square", "", {.relevance = kMoves}},
      {check_moves, "affine", "", {.relevance = kMoves}},
      {check_selects, "avg_pool2d", "", {.relevance = kSelects}},
      {check_selects, "exp", "", {.relevance = kSelects}},
      {check_weight_operand, "add", "", {.weight = 1}},
      {check_weight_operand, "matmul", "3x5x7 with bias", {.weight = 2}},
      {check_weight_operand, "relu", "", {.weight = 0}},
      {check_channel_axis, "matmul", "3x5x7", {.channel_axis = 0}},
      {check_channel_axis, "conv2d", "", {.channel_axis = 3}},
      {check_channel_axis, "relu", "", {.channel_axis = 0}},
      {check_nonnegative_factors, "sub", "", {.nonnegative_factors = true}},
      {check_shape_operands, "mul", "", {.last = Role::shape}},
      {check_nonnegative_factors, "affine", "", {.nonnegative_factors = true}},
      {check_nonnegative_factors, "relu", "", {.nonnegative_factors = true}},
      {check_nonnegative_factors, "conv2d", "", {.nonnegative_factors = true}},
      {check_keeps_signs, "neg", "", {.keeps_signs = true}},
      {check_keeps_signs, "sub", "", {.keeps_signs = true}},
      {check_keeps_signs, "pad", "value", {.keeps_signs = true}},
      {check_constant_part, "affine", "", {.constant_part = false}},
      {check_constant_part, "pad", "value", {.constant_part = false}},
      {check_channels_last, "transpose", "channels first", {.channels_last = true}},
      {check_channel_affine, "batch_norm_inference", "", {.folds = false}},
      {check_channel_affine, "batch_norm_inference", "", {.swap_affine = true}},
      {check_channel_affine, "relu", "", {.folds = true}},
      {check_elementary, "relu", "", {.relevance = RelevanceClass::elementary}},
      {check_elementary, "softmax", "", {.relevance = RelevanceClass::elementary}},
      {check_without_padding, "relu", "", {.without_padding = op_of("relu", "relu")}},
      {check_without_padding, "max_pool2d", "stem", {.padding_value = 0.0}},
      {check_without_padding, "avg_pool2d", "stem", {.padding_value = 1.0}},
  };
}

TEST(BrokenFacts, EachFalseClaimTurnsItsCheckRed) {
  for (const False& f : false_claims()) {
    EXPECT_FALSE(f.check(claiming(f.op, f.label, f.claims)).empty())
        << f.op << " (" << f.label << ") got away with a false claim";
  }
}

TEST(BrokenFacts, TheOpsOwnClaimsAreGreen) {
  for (const False& f : false_claims()) {
    for (const std::string& problem : f.check(claiming(f.op, f.label, {}))) {
      ADD_FAILURE() << f.op << " (" << f.label << "): " << problem;
    }
  }
}

// Its own window with its padding left on.
TEST(BrokenFacts, PaddingThatStays) {
  for (const Case& c : cases(-1)) {
    const Footprint f = c.sample.op->footprint();
    if (c.sample.op->name() != "conv2d" || f.pad_h == 0) continue;
    Case padded = c;
    padded.sample.op =
        std::make_shared<Claiming>(c.sample.op, Claims{.without_padding = c.sample.op});
    EXPECT_FALSE(check_without_padding(padded).empty());
    EXPECT_TRUE(check_without_padding(c).empty());
    return;
  }
  FAIL() << "no padded convolution among the samples";
}

}  // namespace
}  // namespace tapescope
