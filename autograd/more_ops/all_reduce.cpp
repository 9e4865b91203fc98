// The sum over the processes that share a batch.
#include "kernels/collectives/all_reduce.h"

#include "autograd/ops/fused.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

// Each rank's x -> the sum of all, on every rank. What all ranks have, taken as one vector, goes
// through a symmetric matrix, so the vector-Jacobian product is the op itself. It says nothing of
// the batch.
class AllReduce final : public Op {
 public:
  explicit AllReduce(Communicator* ranks) : ranks_(ranks) {}
  std::string_view name() const override { return "all_reduce"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("ranks", static_cast<std::int64_t>(ranks_ != nullptr ? ranks_->size() : 1));
  }
  Types infer(std::span<const Type> t) const override {
    if (!is_floating(t[0].dtype) || (ranks_ != nullptr && t[0].dtype == DType::bf16)) {
      throw usage_error("[all_reduce] adds f32 and f64 over ranks, not {}", to_string(t[0]));
    }
    return {t[0]};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return all_reduce(ranks_, t[0].elements(), t[0].dtype, backend.device);
  }
  std::vector<Var> decompose(Tape&, std::span<const Var> o) const override {
    if (ranks_ != nullptr) return {};
    return {record(unary_op(Unary::identity, 0, 0), o).out()};
  }
  void vjp(Vjp& v) const override { v.give(0, all_reduce(v.cotangent(), ranks_)); }
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::linear; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    return memory_cost(t, outputs, 1);
  }
  Footprint footprint() const override { return {}; }
  bool nonnegative_factors() const override { return true; }
  bool may_overwrite(int operand, int) const override { return operand == 0; }

 private:
  Communicator* ranks_;
};

}  // namespace

OpRef all_reduce_op(Communicator* ranks) { return std::make_shared<AllReduce>(ranks); }
Var all_reduce(Var x, Communicator* ranks) {
  require_operands("all_reduce", {x});
  return record<AllReduce>({x}, ranks);
}

std::vector<Sample> all_reduce_samples() {
  const auto alone = std::make_shared<AllReduce>(nullptr);
  return {{"of one rank", alone, {normal({3, 5})}}, {"scalar", alone, {fixed_extent(normal({}))}}};
}

}  // namespace tapescope
