// Matrix product, closed under its vector-Jacobian product.
#include "kernels/matmul/matmul.h"

#include "autograd/ops/fused.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

// operands: a {M,K}, b {K,N}, bias {N} or absent; a and b transposed if so said
class Matmul final : public Op {
 public:
  Matmul(bool transpose_a, bool transpose_b, bool wide_result = false)
      : transpose_a_(transpose_a), transpose_b_(transpose_b), wide_(wide_result) {}
  std::string_view name() const override { return "matmul"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("transpose_a", static_cast<std::int64_t>(transpose_a_));
    v.visit("transpose_b", static_cast<std::int64_t>(transpose_b_));
    if (wide_) v.visit("wide", std::int64_t{1});
  }
  Types infer(std::span<const Type> t) const override {
    const Type &a = t[0], &b = t[1];
    if (a.shape.rank() != 2 || b.shape.rank() != 2 || a.dtype != b.dtype || !is_floating(a.dtype)) {
      throw usage_error("[matmul] needs two matrices of one floating dtype, not {} and {}",
                        to_string(a), to_string(b));
    }
    const MatmulShape s = shape_of(t);
    const std::int64_t other = b.shape[transpose_b_ ? 1 : 0];
    if (s.K != other) {
      throw usage_error("[matmul] {}{} times {}{}: the inner extents {} and {} differ",
                        to_string(a.shape), transpose_a_ ? " transposed" : "", to_string(b.shape),
                        transpose_b_ ? " transposed" : "", s.K, other);
    }
    if (const Type bias{wide(a.dtype), {s.N}}; s.bias && t[2] != bias) {
      throw usage_error("[matmul] the bias must be {} for {} columns, not {}", to_string(bias), s.N,
                        to_string(t[2]));
    }
    return {{wide_ ? wide(a.dtype) : a.dtype, {s.M, s.N}}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(matmul_variants(), shape_of(t), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    const Var a = v.operand(0), b = v.operand(1), dc = cast(v.cotangent(), a.dtype());
    if (v.wants(0)) {
      v.give(0, transpose_a_ ? matmul(b, dc, transpose_b_, true)
                             : matmul(dc, b, false, !transpose_b_));
    }
    if (v.wants(1)) {
      // Of weights, which the batch shares, the gradient is a sum over it: it stays f32.
      const bool sum = !b.node->batched;
      v.give(1, transpose_b_ ? record<Matmul>({dc, a}, true, transpose_a_, sum)
                             : record<Matmul>({a, dc}, !transpose_a_, false, sum));
    }
    if (v.wants(2)) v.give(2, reduce_like(dc, v.operand(2)));
  }
  Role role(int operand) const override {
    return operand == 0 ? Role::signal : operand == 1 ? Role::weight : Role::bias;
  }
  RelevanceClass relevance_class(unsigned active) const override {
    return (active & 3u) == 3u ? RelevanceClass::product : RelevanceClass::linear;
  }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    const MatmulShape s = shape_of(t);
    Cost cost = memory_cost(t, outputs, s.bias ? 1 : 0);
    cost.macs = static_cast<double>(s.M) * static_cast<double>(s.N) * static_cast<double>(s.K);
    cost.flops += 2 * cost.macs;
    return cost;
  }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  bool rows_independent() const override { return !transpose_a_; }
  bool adds_rows() const override { return transpose_a_; }
  int channel_axis() const override { return transpose_b_ ? 0 : 1; }

  MatmulShape shape_of(std::span<const Type> t) const {
    const Shape &a = t[0].shape, &b = t[1].shape;
    return {t[0].dtype,
            t.size() > 2,
            transpose_a_,
            transpose_b_,
            a[transpose_a_ ? 1 : 0],
            b[transpose_b_ ? 0 : 1],
            a[transpose_a_ ? 0 : 1],
            wide_};
  }

 private:
  bool transpose_a_, transpose_b_;
  bool wide_;  // bf16 operands, f32 result
};

}  // namespace

Var matmul(Var a, Var b, bool transpose_a, bool transpose_b, Var bias) {
  return record<Matmul>({lowered(a), lowered(b), bias}, transpose_a, transpose_b);
}

Var linear(Var x, Var weight, Var bias) { return matmul(x, weight, false, true, bias); }

std::optional<MatmulShape> shape_of_matmul(const Op& op, std::span<const Type> operands) {
  const auto* product = dynamic_cast<const Matmul*>(&op);
  return product != nullptr ? std::optional(product->shape_of(operands)) : std::nullopt;
}

std::vector<Sample> matmul_samples() {
  std::vector<Sample> samples;
  for (bool a : {false, true}) {
    for (bool b : {false, true}) {
      const auto op = std::make_shared<Matmul>(a, b);
      const auto add_case = [&](std::int64_t M, std::int64_t N, std::int64_t K) {
        OperandSpec left = normal(a ? Shape{K, M} : Shape{M, K});
        OperandSpec right = normal(b ? Shape{N, K} : Shape{K, N});
        left.batched = !a;  // with a transposed, the batch is summed over, not kept
        right.batched = false;
        samples.push_back({fmt::format("{}x{}x{}", M, N, K), op, {left, right}});
        samples.push_back({fmt::format("{}x{}x{} with bias", M, N, K),
                           op,
                           {left, right, per_channel(normal({N}))}});
        samples.push_back({fmt::format("{}x{}x{} wide", M, N, K),
                           std::make_shared<Matmul>(a, b, true),
                           {left, right}});
      };
      add_case(3, 5, 7);
      add_case(3, 1, 1);
      add_case(3, 33, 300);
      add_case(8, 72, 136);  // whole packs of bf16, as wgmma wants them
    }
  }
  const auto plain = std::make_shared<Matmul>(false, true);
  samples.push_back({"empty batch", plain, {normal({0, 4}), fixed_extent(normal({5, 4}))}});
  return samples;
}

}  // namespace tapescope
