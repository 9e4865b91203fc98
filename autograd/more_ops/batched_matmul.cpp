// Matrix products of equally many matrices: one kernel of matmul's for each pair.
#include "kernels/matmul/matmul.h"

#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

// operands: a {.., M,K}, b {.., K,N}; the matrices transposed if so said
class BatchedMatmul final : public Op {
 public:
  BatchedMatmul(bool transpose_a, bool transpose_b)
      : transpose_a_(transpose_a), transpose_b_(transpose_b) {}
  std::string_view name() const override { return "batched_matmul"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("transpose_a", static_cast<std::int64_t>(transpose_a_));
    v.visit("transpose_b", static_cast<std::int64_t>(transpose_b_));
  }
  Types infer(std::span<const Type> t) const override {
    const Shape &a = t[0].shape, &b = t[1].shape;
    const int rank = a.rank();
    bool fits = rank >= 3 && b.rank() == rank && t[0].dtype == t[1].dtype &&
                is_floating(t[0].dtype) &&
                a[rank - (transpose_a_ ? 2 : 1)] == b[rank - (transpose_b_ ? 1 : 2)];
    for (int axis = 0; fits && axis < rank - 2; ++axis) fits = a[axis] == b[axis];
    if (!fits) {
      throw usage_error(
          "[batched_matmul] needs floating {{.., M, K}} and {{.., K, N}} with equal leading "
          "extents, not {}{} and {}{}",
          to_string(t[0]), transpose_a_ ? " transposed" : "", to_string(t[1]),
          transpose_b_ ? " transposed" : "");
    }
    Shape c = a;
    c[rank - 2] = one_of(t).M;
    c[rank - 1] = one_of(t).N;
    return {{t[0].dtype, c}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type> outputs,
               const Backend& backend) const override {
    const auto one = std::make_shared<const Plan>(
        prepare_from(matmul_variants(), one_of(t), t[0].dtype, backend));
    const std::int64_t count = matrices(t);
    const auto pitch = [&](const Type& type) {
      return count == 0 ? 0 : type.bytes() / static_cast<std::size_t>(count);
    };
    return {one->variant(), one->workspace_bytes(),
            [one, count, a = pitch(t[0]), b = pitch(t[1]), c = pitch(outputs[0])](
                const Queue& queue, const Buffers& buffers) {
              for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
                const void* in[] = {static_cast<const char*>(buffers.in[0]) + i * a,
                                    static_cast<const char*>(buffers.in[1]) + i * b, nullptr};
                void* out[] = {static_cast<char*>(buffers.out[0]) + i * c};
                one->run(queue, {in, out, buffers.workspace});
              }
            }};
  }
  void vjp(Vjp& v) const override {
    const Var dc = v.cotangent(), a = v.operand(0), b = v.operand(1);
    if (v.wants(0)) {
      v.give(0, transpose_a_ ? batched_matmul(b, dc, transpose_b_, true)
                             : batched_matmul(dc, b, false, !transpose_b_));
    }
    if (v.wants(1)) {
      v.give(1, transpose_b_ ? batched_matmul(dc, a, true, transpose_a_)
                             : batched_matmul(a, dc, !transpose_a_, false));
    }
  }
  Role role(int operand) const override { return operand == 0 ? Role::signal : Role::weight; }
  RelevanceClass relevance_class(unsigned active) const override {
    return active == 3u ? RelevanceClass::product : RelevanceClass::linear;
  }
  int weight_operand(unsigned active) const override {
    return active == 1u ? 1 : active == 2u ? 0 : -1;
  }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    const MatmulShape s = one_of(t);
    Cost cost = memory_cost(t, outputs, 0);
    cost.macs = static_cast<double>(matrices(t)) * static_cast<double>(s.M) *
                static_cast<double>(s.N) * static_cast<double>(s.K);
    cost.flops = 2 * cost.macs;
    return cost;
  }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  bool channels_last() const override { return false; }

 private:
  static std::int64_t matrices(std::span<const Type> t) {
    return t[0].shape.elements(0, t[0].shape.rank() - 2);
  }
  MatmulShape one_of(std::span<const Type> t) const {
    const Shape &a = t[0].shape, &b = t[1].shape;
    const int m = a.rank() - 2, n = a.rank() - 1;
    return {t[0].dtype,
            false,
            transpose_a_,
            transpose_b_,
            a[transpose_a_ ? n : m],
            b[transpose_b_ ? m : n],
            a[transpose_a_ ? m : n]};
  }
  bool transpose_a_, transpose_b_;
};

}  // namespace

Var batched_matmul(Var a, Var b, bool transpose_a, bool transpose_b) {
  return record<BatchedMatmul>({lowered(a), lowered(b)}, transpose_a, transpose_b);
}

std::vector<Sample> batched_matmul_samples() {
  std::vector<Sample> samples;
  for (const bool a : {false, true}) {
    for (const bool b : {false, true}) {
      const auto op = std::make_shared<BatchedMatmul>(a, b);
      const auto add_case = [&](Shape left, std::int64_t M, std::int64_t N, std::int64_t K) {
        const auto matrix = [&](std::int64_t rows, std::int64_t columns) {
          std::vector<std::int64_t> extents(left.begin(), left.end());
          extents.insert(extents.end(), {rows, columns});
          return normal(Shape(std::span<const std::int64_t>(extents)));
        };
        samples.push_back({fmt::format("{} of {}x{}x{}", to_string(left), M, N, K),
                           op,
                           {a ? matrix(K, M) : matrix(M, K), b ? matrix(N, K) : matrix(K, N)}});
      };
      add_case({3}, 4, 5, 7);
      add_case({2, 3}, 3, 1, 9);
    }
  }
  const auto plain = std::make_shared<BatchedMatmul>(false, false);
  samples.push_back({"empty batch", plain, {normal({0, 2, 4}), normal({0, 4, 5})}});
  return samples;
}

}  // namespace tapescope
