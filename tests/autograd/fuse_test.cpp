// Dropout of a relu's result is computed by one kernel, and nobody can tell from the values.
#include <gtest/gtest.h>

#include <algorithm>

#include "autograd/ops/ops.h"
#include "autograd/program/program.h"
#include "tests/autograd/op_cases.h"

namespace tapescope {
namespace {

const Shape kShape{6, 37};

Tensor noise(std::uint64_t seed) {
  return fill({{DType::f32, kShape}, OperandSpec::Values::normal, 0, 0, false}, -1, seed)
      .to(DType::f32);
}

struct Recorded {
  Var x, rectified, dropped;
  std::vector<Var> gradients;  // of sum(sin-like(dropped) w), by x and w
};

Recorded record(Tape& tape, Var x, Var w) {
  Recorded r;
  r.x = x;
  r.rectified = relu(affine(x, 1.5, 0.1));
  r.dropped = dropout(r.rectified, 0.4);
  r.gradients = tape.gradient(sum(mul(tanh(r.dropped), w)), {x, w});
  return r;
}

std::vector<std::string> ops_of(Program& program) {
  std::vector<std::string> names;
  for (const StepInfo& step : program.steps()) names.emplace_back(step.op->name());
  return names;
}

std::int64_t count(Program& program, std::string_view op) {
  const std::vector<std::string> names = ops_of(program);
  return std::count(names.begin(), names.end(), op);
}

// The same nodes, each computed by itself when it was recorded.
std::vector<Tensor> eager(bool with_relu) {
  Tape tape(Device::cpu(), Mode::training, {7, {}});
  tape.input("step", Tensor::scalar_i64(3));
  const Var x = tape.input("x", noise(1)), w = tape.input("w", noise(2));
  const Recorded r = record(tape, x, w);
  std::vector<Tensor> values = {r.dropped.value(), r.gradients[0].value(), r.gradients[1].value()};
  if (with_relu) values.push_back(r.rectified.value());
  return values;
}

struct Symbolic {
  Tape tape{Device::cpu(), Mode::training, {7, {}}};
  Var x = tape.input("x", DType::f32, kShape), w = tape.input("w", DType::f32, kShape);
  Recorded r = record(tape, x, w);
  std::vector<Var> outputs{r.dropped, r.gradients[0], r.gradients[1]};
};

std::vector<Tensor> run(Program& program) {
  return program.run({{"x", noise(1)}, {"w", noise(2)}, {"step", Tensor::scalar_i64(3)}});
}

void expect_equal(const std::vector<Tensor>& got, const std::vector<Tensor>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t k = 0; k < got.size(); ++k) {
    for (std::int64_t i = 0; i < want[k].elements(); ++i) {
      ASSERT_EQ(got[k].item(i), want[k].item(i)) << "output " << k << " element " << i;
    }
  }
}

TEST(Fusion, DropoutOfReluIsOneKernelWithTheSameValues) {
  Symbolic s;
  Program program = s.tape.compile(s.outputs);
  EXPECT_EQ(count(program, "relu_dropout"), 1);
  EXPECT_EQ(count(program, "relu"), 0);
  EXPECT_EQ(count(program, "dropout"), 0);
  EXPECT_EQ(count(program, "mask_positive"), 1);
  const std::vector<Tensor> got = run(program);
  expect_equal(got, eager(false));
  std::int64_t zeros = 0;
  for (float y : got[0].values<float>()) zeros += y == 0;
  EXPECT_GT(zeros, got[0].elements() / 2);
  EXPECT_LT(zeros, got[0].elements());
}

TEST(Fusion, ForwardAlone) {
  Symbolic s;
  Program program = s.tape.compile({s.r.dropped});
  EXPECT_EQ(ops_of(program), (std::vector<std::string>{"affine", "relu_dropout"}));
  expect_equal(run(program), {eager(false)[0]});
}

TEST(Fusion, NotWhereTheReluIsAskedFor) {
  Symbolic s;
  s.outputs.push_back(s.r.rectified);
  Program program = s.tape.compile(s.outputs);
  EXPECT_EQ(count(program, "relu_dropout"), 0);
  EXPECT_EQ(count(program, "relu"), 1);
  EXPECT_EQ(count(program, "dropout"), 2);
  expect_equal(run(program), eager(true));
}

TEST(Fusion, NotWhereSomethingElseReadsTheRelu) {
  Symbolic s;
  const Var other = exp(neg(s.r.rectified));
  s.outputs.push_back(other);
  Program program = s.tape.compile(s.outputs);
  EXPECT_EQ(count(program, "relu_dropout"), 0);
  std::vector<Tensor> got = run(program);
  got.pop_back();
  expect_equal(got, eager(false));
}

TEST(Fusion, NotWhereTheDroppedCotangentIsReadTwice) {
  Symbolic s;
  const Node* back = nullptr;
  for (const Node* node : s.tape.nodes()) {
    if (node->op->name() == "dropout") back = node;  // the last one is the gradient's
  }
  s.outputs.push_back(back->out());
  Program program = s.tape.compile(s.outputs);
  EXPECT_EQ(count(program, "relu_dropout"), 0);
  std::vector<Tensor> got = run(program);
  got.pop_back();
  expect_equal(got, eager(false));
}

TEST(Fusion, NotAcrossACut) {
  Symbolic s;
  Program program = s.tape.compile(s.outputs, {}, {.cuts = {s.r.rectified}});
  EXPECT_EQ(count(program, "relu_dropout"), 0);
  EXPECT_EQ(count(program, "dropout"), 2);
}

// A dropout of another mask than the relu's own, in the place of its gradient.
TEST(Fusion, NotWithAnotherMask) {
  Tape tape(Device::cpu(), Mode::training, {7, {}});
  const Var x = tape.input("x", DType::f32, kShape), w = tape.input("w", DType::f32, kShape);
  const Var rectified = relu(x), dropped = dropout(rectified, 0.4);
  const Var other = mask_positive(dropout(w, 0.4), rectified);
  Program program = tape.compile({dropped, other});
  EXPECT_EQ(count(program, "relu_dropout"), 0);
  EXPECT_EQ(count(program, "dropout"), 2);
}

}  // namespace
}  // namespace tapescope
