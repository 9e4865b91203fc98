// What every op promises besides its derivative, on every sample of every op.
#include <gtest/gtest.h>

#include "autograd/tape.h"
#include "engine/thread_pool.h"
#include "tests/autograd/op_cases.h"

namespace tapescope {
namespace {

std::vector<Tensor> in_dtype(const Case& c, DType dtype) {
  std::vector<Tensor> operands;
  for (std::size_t k = 0; k < c.operands.size(); ++k) {
    const Tensor& t = c.operands[k];
    const DType own = c.sample.operands[k].wide ? wide(dtype) : dtype;
    operands.push_back(is_floating(t.dtype()) ? t.to(own) : t);
  }
  return operands;
}

std::vector<Type> types_of(const std::vector<Tensor>& tensors) {
  std::vector<Type> types;
  for (const Tensor& t : tensors) types.push_back(t.type());
  return types;
}

// Runs the op's kernel. With `overwrite`, output `output` is written over a copy of that operand.
std::vector<Tensor> run(const Op& op, const std::vector<Tensor>& operands, int overwrite = -1,
                        int output = -1) {
  const std::vector<Type> types = types_of(operands);
  const Types out = op.infer(types);
  if (const int aliased = op.alias(); aliased >= 0) {
    return {operands[static_cast<std::size_t>(aliased)].reshape(out[0].shape)};
  }
  const Plan plan = op.prepare(types, out, {Device::cpu(), {}});
  std::vector<Tensor> results;
  std::vector<const void*> in;
  std::vector<void*> to;
  for (const Tensor& t : operands) in.push_back(t.data());
  in.push_back(nullptr);
  for (int o = 0; o < out.size(); ++o) {
    if (o == output) {
      const Tensor& over = operands[static_cast<std::size_t>(overwrite)];
      results.push_back(over.clone().reshape(out[o].shape));
      in[static_cast<std::size_t>(overwrite)] = results.back().data();
    } else {
      results.push_back(Tensor(out[o]));
    }
    to.push_back(results.back().data());
  }
  to.push_back(nullptr);
  Tensor workspace(Type{DType::u8, {static_cast<std::int64_t>(plan.workspace_bytes())}});
  plan.run(Queue(Device::cpu()), {in.data(), to.data(), workspace.data()});
  return results;
}

// Weights are kept and updated in full precision.
bool has_bf16(const Op& op) { return !op.name().ends_with("update"); }

void expect_same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t o = 0; o < a.size(); ++o) {
    ASSERT_EQ(a[o].type(), b[o].type());
    EXPECT_TRUE(a[o].bytes() == 0 || std::memcmp(a[o].data(), b[o].data(), a[o].bytes()) == 0)
        << "output " << o;
  }
}

// The kernels that f32 and bf16 get, against f64: to the rounding of operands and results.
TEST(Contracts, LowerPrecisionIsNearF64) {
  for (const Case& c : cases(-1)) {
    SCOPED_TRACE(label_of(c));
    for (const auto& [dtype, unit] : {std::pair(DType::f32, 6e-8), std::pair(DType::bf16, 4e-3)}) {
      if (dtype == DType::bf16 && !has_bf16(*c.sample.op)) continue;
      const std::vector<Tensor> operands = in_dtype(c, dtype);
      std::vector<Tensor> exact;  // the operands as rounded, so that kinks fall alike
      for (const Tensor& t : operands)
        exact.push_back(is_floating(t.dtype()) ? t.to(DType::f64) : t);
      const auto got = run(*c.sample.op, operands), want = run(*c.sample.op, exact);
      for (std::size_t o = 0; o < got.size(); ++o) {
        double scale = 1;
        for (std::int64_t i = 0; i < want[o].elements(); ++i) {
          scale = std::max(scale, std::abs(want[o].item(i)));
        }
        for (std::int64_t i = 0; i < want[o].elements(); ++i) {
          if (std::isnan(want[o].item(i)) && std::isnan(got[o].item(i))) continue;
          ASSERT_NEAR(got[o].item(i), want[o].item(i), 64 * unit * scale)
              << name_of(dtype) << " output " << o << " element " << i;
        }
      }
    }
  }
}

TEST(Contracts, OverwritingWhereAllowedChangesNoBit) {
  int checked = 0;
  for (const Case& c : cases(-1)) {
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      if (dtype == DType::bf16 && !has_bf16(*c.sample.op)) continue;
      const std::vector<Tensor> operands = in_dtype(c, dtype);
      const auto plain = run(*c.sample.op, operands);
      for (std::size_t i = 0; i < operands.size(); ++i) {
        for (std::size_t o = 0; o < plain.size(); ++o) {
          if (!c.sample.op->may_overwrite(static_cast<int>(i), static_cast<int>(o)) ||
              operands[i].bytes() != plain[o].bytes()) {
            continue;
          }
          SCOPED_TRACE(fmt::format("{} {} over operand {}", label_of(c), name_of(dtype), i));
          expect_same_bits(run(*c.sample.op, operands, static_cast<int>(i), static_cast<int>(o)),
                           plain);
          ++checked;
        }
      }
    }
  }
  EXPECT_GT(checked, 100);
}

TEST(Contracts, FusedOpsAreTheirElementaryForm) {
  int checked = 0;
  for (const Case& c : cases(-1)) {
    Tape tape(Device::cpu(), Mode::evaluation);
    std::vector<Var> operands;
    for (const Tensor& t : c.operands) operands.push_back(tape.constant(t));
    const std::vector<Var> elementary = c.sample.op->decompose(tape, operands);
    if (elementary.empty()) continue;
    SCOPED_TRACE(label_of(c));
    const Node& fused = tape.record(c.sample.op, operands);
    ASSERT_EQ(elementary.size(), fused.types().size());
    for (std::size_t o = 0; o < elementary.size(); ++o) {
      const Tensor &a = elementary[o].value(), &b = fused.values()[o];
      ASSERT_EQ(a.type(), b.type()) << "output " << o;
      for (std::int64_t i = 0; i < a.elements(); ++i) {
        ASSERT_NEAR(a.item(i), b.item(i), 1e-10 * (1 + std::abs(b.item(i)))) << "output " << o;
      }
    }
    ++checked;
  }
  EXPECT_GT(checked, 10);
}

TEST(Contracts, ResultsSaidNonnegativeAre) {
  for (const Case& c : cases(-1)) {
    if (!c.sample.op->nonnegative()) continue;
    SCOPED_TRACE(label_of(c));
    for (const Tensor& t : run(*c.sample.op, c.operands)) {
      for (std::int64_t i = 0; i < t.elements(); ++i) ASSERT_GE(t.item(i), 0);
    }
  }
}

TEST(Contracts, ThreadsChangeNoBit) {
  const int before = thread_count();
  for (const Case& c : cases(-1)) {
    SCOPED_TRACE(label_of(c));
    const std::vector<Tensor> operands = in_dtype(c, DType::f32);
    set_thread_count(1);
    const auto one = run(*c.sample.op, operands);
    set_thread_count(3);
    const auto three = run(*c.sample.op, operands);
    expect_same_bits(one, three);
  }
  set_thread_count(before);
}

// The rows of a small batch are, bit for bit, those of a larger one that begins with it.
TEST(Contracts, TheBatchSizeChangesNoBitOfARow) {
  for (const Case& c : cases(7)) {
    if (!c.sample.op->rows_independent()) continue;
    bool batched = false, whole = true;
    for (std::size_t k = 0; k < c.operands.size(); ++k) {
      const bool own = c.sample.operands[k].batched;
      batched = batched || own;
      whole =
          whole && (!own || (c.operands[k].shape().rank() > 0 && c.operands[k].shape()[0] == 7));
    }
    if (!batched || !whole) continue;
    SCOPED_TRACE(label_of(c));
    const std::vector<Tensor> all = in_dtype(c, DType::f32);
    const auto want = run(*c.sample.op, all);
    for (const std::int64_t rows : {1, 2}) {
      std::vector<Tensor> some;
      for (std::size_t k = 0; k < all.size(); ++k) {
        some.push_back(c.sample.operands[k].batched ? all[k].rows(0, rows).clone() : all[k]);
      }
      std::vector<Tensor> first;
      for (const Tensor& t : want) first.push_back(t.rows(0, rows));
      expect_same_bits(run(*c.sample.op, some), first);
    }
  }
}

TEST(Contracts, TypesCostsAndTextsAreGiven) {
  for (const Case& c : cases(-1)) {
    SCOPED_TRACE(label_of(c));
    const Op& op = *c.sample.op;
    const std::vector<Type> types = types_of(c.operands);
    const Types out = op.infer(types);
    EXPECT_GE(out.size(), 1);
    const Cost cost = op.cost(types, out);
    EXPECT_GE(cost.flops, 0);
    EXPECT_GE(cost.bytes, 0);
    EXPECT_GE(cost.flops, 2 * cost.macs);
    EXPECT_TRUE(describe(op).starts_with(op.name()));
  }
}

}  // namespace
}  // namespace tapescope
