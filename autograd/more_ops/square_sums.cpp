// Sums of squares: what the norm of all gradients is made of.
#include "kernels/more_ops/square_sums/square_sums.h"

#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "autograd/program/joined_op.h"
#include "autograd/tape.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/reduce/reduce.h"

namespace tapescope {
namespace {

// No gradient: one that is wanted is that of sum(square(x)).
class SumOfSquares : public Op {
 public:
  void attributes(AttributeVisitor&) const override {}
  void vjp(Vjp&) const override {}
  Role role(int) const override { return Role::fixed; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::stop; }
  Cost cost(std::span<const Type> t, std::span<const Type> outputs) const override {
    Cost cost = memory_cost(t, outputs, 0);
    for (const Type& x : t) cost.flops += 2 * static_cast<double>(x.elements());
    return cost;
  }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  bool rows_independent() const override { return false; }

 protected:
  void expect_wide(const Type& x) const {
    if (x.dtype == DType::f32 || x.dtype == DType::f64) return;
    throw usage_error("[{}] sums f32 or f64, not {}", name(), to_string(x));
  }
};

// What `square` and `sum` do, one tensor after the other.
struct OneByOne {
  struct Tensor {
    Plan square, sum;
  };
  std::vector<Tensor> tensors;
  std::size_t element_bytes, squares_bytes;  // of one; of the largest's squares

  void operator()(const Queue& queue, const Buffers& b) const {
    char* y = static_cast<char*>(b.out[0]);
    for (std::size_t k = 0; k < tensors.size(); ++k, y += element_bytes) {
      void* squares = b.workspace;
      void* sum = y;
      void* workspace = static_cast<char*>(b.workspace) + squares_bytes;
      tensors[k].square.run(queue, {b.in + k, &squares, workspace});
      const void* in = squares;
      tensors[k].sum.run(queue, {&in, &sum, workspace});
    }
  }
};

// operands: 1 to 15 tensors -> {as many}
class SquareSums final : public SumOfSquares {
 public:
  std::string_view name() const override { return "square_sums"; }
  Types infer(std::span<const Type> t) const override {
    for (const Type& x : t) {
      expect_wide(x);
      if (x.dtype != t[0].dtype) {
        throw usage_error("[{}] the tensors must be of one dtype, not {} and {}", name(),
                          to_string(t[0]), to_string(x));
      }
    }
    return {{t[0].dtype, {static_cast<std::int64_t>(t.size())}}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    std::vector<std::int64_t> n;
    for (const Type& x : t) n.push_back(x.elements());
    const DType dtype = t[0].dtype;
    if (Plan plan = gpu_plan<SquareSumsShape>("square_sums", {dtype, n}, dtype, backend)) {
      return plan;
    }
    constexpr std::size_t kAlignment = 256;
    auto all = std::make_unique<OneByOne>();
    std::size_t workspace = 0;
    all->element_bytes = size_of(dtype);
    all->squares_bytes = 0;
    for (const Type& x : t) {
      const UnaryShape squared{dtype, Unary::square, x.elements()};
      const ReduceShape summed{dtype, Reduction::sum, x.shape, all_axes(x.shape.rank())};
      OneByOne::Tensor& tensor = all->tensors.emplace_back();
      tensor.square = prepare_from(unary_variants(), squared, dtype, backend);
      tensor.sum = prepare_from(reduce_variants(), summed, dtype, backend);
      all->squares_bytes = std::max(all->squares_bytes, x.bytes());
      workspace =
          std::max({workspace, tensor.square.workspace_bytes(), tensor.sum.workspace_bytes()});
    }
    all->squares_bytes = (all->squares_bytes + kAlignment - 1) / kAlignment * kAlignment;
    const std::size_t bytes = all->squares_bytes + workspace;
    return Plan("one_by_one", bytes,
                [all = std::move(all)](const Queue& queue, const Buffers& b) { (*all)(queue, b); });
  }
  bool adds_rows() const override { return true; }
  std::vector<Var> decompose(Tape&, std::span<const Var> o) const override {
    std::vector<Var> sums;
    for (const Var& x : o) sums.push_back(sum(square(x)));
    return {packed(sums)};
  }
};

// operands: x {n} -> {}
class SumInOrder final : public SumOfSquares {
 public:
  std::string_view name() const override { return "sum_in_order"; }
  Types infer(std::span<const Type> t) const override {
    expect_wide(t[0]);
    if (t[0].shape.rank() != 1) {
      throw usage_error("[sum_in_order] the operand must be a vector, not {}", to_string(t[0]));
    }
    return {{t[0].dtype, {}}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(sum_in_order_variants(), {t[0].dtype, t[0].elements()}, t[0].dtype,
                        backend);
  }
};

}  // namespace

Var square_sums(std::span<const Var> xs) {
  constexpr std::size_t kMost = kMostOperands - 1;
  std::vector<Var> sums;
  for (std::size_t i = 0; i < xs.size(); i += kMost) {
    sums.push_back(record<SquareSums>(xs.subspan(i, std::min(kMost, xs.size() - i))));
  }
  return packed(sums);
}
Var sum_in_order(Var x) { return record<SumInOrder>({x}); }

std::vector<Sample> square_sums_samples() {
  const auto wide = [](Shape shape) { return per_channel(normal(shape)); };
  const auto op = std::make_shared<SquareSums>();
  return {{"one", op, {wide({3, 4, 5})}},
          {"three", op, {wide({7, 5}), wide({}), wide({33})}},
          {"none and many", op, {wide({0, 5}), wide({4, 9000})}}};
}
std::vector<Sample> sum_in_order_samples() {
  const auto op = std::make_shared<SumInOrder>();
  return {{"few", op, {per_channel(normal({5}))}}, {"many", op, {per_channel(normal({600}))}}};
}

}  // namespace tapescope
