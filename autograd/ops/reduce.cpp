// Reductions and repetition, each other's gradients. Reduced axes stay with extent 1.
#include "kernels/reduce/reduce.h"

#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

void require_floating(const Type& type, std::string_view op) {
  if (!is_floating(type.dtype)) {
    throw usage_error("[{}] the operand is {}; cast it to a floating dtype first", op,
                      to_string(type));
  }
}

// Sum, mean or maximum over some axes.
class Reduce final : public Op {
 public:
  Reduce(Reduction kind, std::uint32_t axes) : kind_(kind), axes_(axes) {}
  std::string_view name() const override {
    return kind_ == Reduction::sum    ? "reduce_sum"
           : kind_ == Reduction::mean ? "reduce_mean"
                                      : "reduce_max";
  }
  void attributes(AttributeVisitor& v) const override {
    v.visit("axes", static_cast<std::int64_t>(axes_));
  }
  Types infer(std::span<const Type> t) const override {
    require_floating(t[0], name());
    if (axes_ >> t[0].shape.rank() != 0) {
      throw usage_error("[{}] an axis to reduce is past the last of shape {}", name(),
                        to_string(t[0].shape));
    }
    return {{t[0].dtype, shape_of(t[0]).out()}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(reduce_variants(), shape_of(t[0]), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override;
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override {
    return kind_ == Reduction::max ? RelevanceClass::selects : RelevanceClass::linear;
  }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    Cost cost = memory_cost(t, outputs, 0);
    cost.flops = static_cast<double>(t[0].elements());
    return cost;
  }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  bool rows_independent() const override { return (axes_ & 1u) == 0; }
  bool adds_rows() const override { return kind_ == Reduction::sum && !rows_independent(); }
  OpRef without_average() const override {
    return kind_ == Reduction::mean ? std::make_shared<Reduce>(Reduction::sum, axes_) : nullptr;
  }
  bool nonnegative_factors() const override { return kind_ != Reduction::max; }
  bool keeps_signs() const override { return true; }

 private:
  ReduceShape shape_of(const Type& x) const { return {x.dtype, kind_, x.shape, axes_}; }
  Reduction kind_;
  std::uint32_t axes_;
};

// Whether `down` has a row for each row of `up`, to which it broadcasts. One row each is no proof:
// autograd/README.md, "What a batch is".
bool row_for_row(Var down, Var up) {
  const Shape &a = down.shape(), &b = up.shape();
  return a.rank() == b.rank() && a.rank() > 0 && a[0] == b[0] && (a[0] != 1 || down.node->batched);
}

// x summed (or averaged) down to the shape of `like`. The average of nothing is 0: averages are
// recorded as the adjoint of a broadcast only.
class ReduceLike final : public Op {
 public:
  ReduceLike(bool average, bool keeps_rows) : average_(average), keeps_rows_(keeps_rows) {}
  std::string_view name() const override { return "reduce_like"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("average", static_cast<std::int64_t>(average_));
    v.visit("keeps_rows", static_cast<std::int64_t>(keeps_rows_));
  }
  Types infer(std::span<const Type> t) const override {
    require_floating(t[0], name());
    reduced_axes(t[0].shape, t[1].shape);
    // The gradient of an f32 bias of bf16 data is f32.
    return {{wide(t[0].dtype) == t[1].dtype ? t[1].dtype : t[0].dtype, t[1].shape}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type> outputs,
               const Backend& backend) const override {
    ReduceShape shape{t[0].dtype, Reduction::sum, t[0].shape, reduced_axes(t[0].shape, t[1].shape),
                      outputs[0].dtype != t[0].dtype};
    if (average_ && shape.count() > 0) shape.op = Reduction::mean;
    return prepare_from(reduce_variants(), shape, shape.dtype, backend);
  }
  void vjp(Vjp& v) const override;
  Role role(int operand) const override { return operand == 0 ? Role::signal : Role::shape; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::linear; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    Cost cost = memory_cost(t.first(1), outputs, 0);
    cost.flops = static_cast<double>(t[0].elements());
    return cost;
  }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  bool rows_independent() const override { return keeps_rows_; }
  bool adds_rows() const override { return !average_ && !keeps_rows_; }
  OpRef without_average() const override {
    return average_ ? std::make_shared<ReduceLike>(false, keeps_rows_) : nullptr;
  }
  bool nonnegative_factors() const override { return true; }

 private:
  bool average_, keeps_rows_;
};

// x repeated up to the shape of `like`, divided by the number of repetitions if averaging.
class BroadcastLike final : public Op {
 public:
  BroadcastLike(bool average, bool keeps_rows) : average_(average), keeps_rows_(keeps_rows) {}
  std::string_view name() const override { return "broadcast_like"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("average", static_cast<std::int64_t>(average_));
    v.visit("keeps_rows", static_cast<std::int64_t>(keeps_rows_));
  }
  Types infer(std::span<const Type> t) const override {
    require_floating(t[0], name());
    if (!broadcasts_to(t[0].shape, t[1].shape)) {
      throw usage_error(
          "[broadcast_like] shape {} does not broadcast to {}: an axis must be equal, "
          "1 or missing in front",
          to_string(t[0].shape), to_string(t[1].shape));
    }
    return {{t[0].dtype, t[1].shape}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    BroadcastShape shape{t[0].dtype, t[0].shape, t[1].shape};
    if (average_ && t[1].elements() > 0) {
      shape.scale = static_cast<double>(t[0].elements()) / static_cast<double>(t[1].elements());
    }
    return prepare_from(broadcast_like_variants(), shape, shape.dtype, backend);
  }
  void vjp(Vjp& v) const override {
    const Var dy = v.cotangent(), x = v.operand(0);
    v.give(0, record<ReduceLike>({dy, x}, average_, row_for_row(x, dy)));
  }
  Role role(int operand) const override { return operand == 0 ? Role::signal : Role::shape; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::linear; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t.first(1), outputs, average_ ? 1 : 0);
  }
  Footprint footprint() const override { return {}; }
  bool may_overwrite(int operand, int) const override { return operand == 0; }
  // What is divided by a number of rows depends on that number.
  bool rows_independent() const override { return !average_ || keeps_rows_; }
  OpRef without_average() const override {
    return average_ ? std::make_shared<BroadcastLike>(false, keeps_rows_) : nullptr;
  }
  bool nonnegative_factors() const override { return true; }

 private:
  bool average_, keeps_rows_;
};

// How many elements of x there are for each of like's, times `one`: known when it runs, read from
// the shapes alone. operands: one {}, x, like
class CountLike final : public Op {
 public:
  std::string_view name() const override { return "count_like"; }
  void attributes(AttributeVisitor&) const override {}
  Types infer(std::span<const Type> t) const override {
    require_floating(t[0], name());
    if (t[0].shape.rank() != 0 || t[2].elements() == 0) {
      throw usage_error("[count_like] needs a scalar unit and something to count by, not {} and {}",
                        to_string(t[0]), to_string(t[2]));
    }
    return {t[0]};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    const double count =
        static_cast<double>(t[1].elements()) / static_cast<double>(t[2].elements());
    const BroadcastShape shape{t[0].dtype, {}, {}, count};
    return prepare_from(broadcast_like_variants(), shape, shape.dtype, backend);
  }
  void vjp(Vjp&) const override {}
  Role role(int operand) const override { return operand == 0 ? Role::fixed : Role::shape; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type>, std::span<const Type>) const override { return {}; }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  bool rows_independent() const override { return false; }
  bool adds_rows() const override { return true; }
};

Var broadcast(Var x, Var like, bool average) {
  return record<BroadcastLike>({x, like}, average, row_for_row(x, like));
}

void Reduce::vjp(Vjp& v) const {
  const Var dy = v.cotangent(), x = v.operand(0);
  if (kind_ != Reduction::max) {
    v.give(0, broadcast(dy, x, kind_ == Reduction::mean));
    return;
  }
  const Var winners = equal(x, v.output());
  const Var count = record<Reduce>({winners}, Reduction::sum, axes_);
  v.give(0, mul(winners, div(dy, count)));
}

void ReduceLike::vjp(Vjp& v) const { v.give(0, broadcast(v.cotangent(), v.operand(0), average_)); }

Var record_reduce(Reduction kind, Var x, std::span<const int> axes) {
  require_operands("reduce", {x});
  std::uint32_t mask = 0;
  for (int axis : axes) {
    if (axis < 0 || axis >= x.shape().rank()) {
      throw usage_error("[reduce] there is no axis {} in shape {}", axis, to_string(x.shape()));
    }
    mask |= 1u << axis;
  }
  return record<Reduce>({x}, kind, mask);
}

Var over_all(Reduction kind, Var x) {
  require_operands("reduce", {x});
  if (x.shape().rank() == 0) return x;
  return reshape_all(record<Reduce>({x}, kind, all_axes(x.shape().rank())), {});
}

Var filled_like(Var x, double value) {
  require_operands("broadcast_like", {x});
  return broadcast_like(x.tape().scalar(value, x.dtype()), x);
}

}  // namespace

Var reduce_sum(Var x, std::span<const int> axes) { return record_reduce(Reduction::sum, x, axes); }
Var reduce_mean(Var x, std::span<const int> axes) {
  return record_reduce(Reduction::mean, x, axes);
}
Var reduce_max(Var x, std::span<const int> axes) { return record_reduce(Reduction::max, x, axes); }
Var sum(Var x) { return over_all(Reduction::sum, x); }
Var mean(Var x) { return over_all(Reduction::mean, x); }
Var reduce_like(Var x, Var like) {
  require_operands("reduce_like", {x, like});
  return record<ReduceLike>({x, like}, false, row_for_row(like, x));
}
Var broadcast_like(Var x, Var like) {
  require_operands("broadcast_like", {x, like});
  return broadcast(x, like, false);
}
Var count_like(Var x, Var like) {
  require_operands("count_like", {x, like});
  return record<CountLike>({x.tape().scalar(1), x, like});
}
Var zeros_like(Var x) { return filled_like(x, 0); }
Var ones_like(Var x) { return filled_like(x, 1); }

std::vector<Sample> reduce_samples() {
  std::vector<Sample> samples;
  for (Reduction kind : {Reduction::sum, Reduction::mean, Reduction::max}) {
    const auto values =
        kind == Reduction::max ? OperandSpec::Values::distinct : OperandSpec::Values::normal;
    for (std::uint32_t axes : {0b110u, 0b010u, 0b100u, 0b111u, 0b011u}) {
      const auto op = std::make_shared<Reduce>(kind, axes);
      samples.push_back(
          {fmt::format("{} axes {:03b}", op->name(), axes), op, {operand({3, 4, 5}, values)}});
    }
    const auto last = std::make_shared<Reduce>(kind, 0b10u);
    samples.push_back({"long rows", last, {operand({3, 37}, values)}});
    samples.push_back({"extent 1", last, {operand({3, 1}, values)}});
  }
  samples.push_back(
      {"empty batch", std::make_shared<Reduce>(Reduction::sum, 0b01u), {normal({0, 4})}});
  return samples;
}

std::vector<Sample> reduce_like_samples() {
  std::vector<Sample> samples;
  for (bool average : {false, true}) {
    const auto all = std::make_shared<ReduceLike>(average, false);
    samples.push_back({"to the last axis", all, {normal({3, 4, 5}), fixed_extent(normal({5}))}});
    samples.push_back({"of a bias", all, {normal({3, 4, 5}), per_channel(normal({5}))}});
    samples.push_back({"to a scalar", all, {normal({3, 4}), fixed_extent(normal({}))}});
    const auto rows = std::make_shared<ReduceLike>(average, true);
    samples.push_back({"to rows", rows, {normal({3, 4, 5}), normal({3, 1, 1})}});
    samples.push_back({"nothing to do", rows, {normal({3, 5}), normal({3, 5})}});
  }
  return samples;
}

std::vector<Sample> broadcast_like_samples() {
  std::vector<Sample> samples;
  for (bool average : {false, true}) {
    const auto all = std::make_shared<BroadcastLike>(average, false);
    samples.push_back({"from the last axis", all, {fixed_extent(normal({5})), normal({3, 4, 5})}});
    samples.push_back({"from a scalar", all, {fixed_extent(normal({})), normal({3, 4})}});
    samples.push_back({"empty batch", all, {fixed_extent(normal({4})), normal({0, 4})}});
    const auto rows = std::make_shared<BroadcastLike>(average, true);
    samples.push_back({"from rows", rows, {normal({3, 1, 1}), normal({3, 4, 5})}});
    samples.push_back({"nothing to do", rows, {normal({3, 5}), normal({3, 5})}});
  }
  return samples;
}

std::vector<Sample> count_like_samples() {
  const OperandSpec one = fixed_extent(operand({}, OperandSpec::Values::positive));
  return {{"per channel",
           std::make_shared<CountLike>(),
           {one, normal({3, 4, 5}), fixed_extent(normal({5}))}},
          {"in all", std::make_shared<CountLike>(), {one, normal({3, 7}), one}},
          {"empty batch", std::make_shared<CountLike>(), {one, normal({0, 7}), one}}};
}

}  // namespace tapescope
