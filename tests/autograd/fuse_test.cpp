// What a Program computes by one kernel where several ops were recorded, and nobody can tell from
// the values.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

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

// --- batch normalisation and what follows it

const Shape kImages{3, 5, 4, 7};

// A stem and a residual block as layers record them: the branch before what is normalised, running
// statistics at once. One weight serves all convolutions: equal ones are not to be merged.
const CompileOptions kUnmerged{.without = {"merge_common_steps"}};
struct Block {
  Var stem, hidden, out;
  std::vector<Var> outputs;  // out, the means, gradients of a loss by all parameters and the image
};
Block record_block(Tape& tape, const std::function<Var(const char*, Shape)>& input,
                   bool branch_first = true) {
  const Var x = input("x", kImages), w = input("w", {7, 3, 3, 7});
  const Var scale = input("scale", {7}), shift = input("shift", {7});
  const Conv2dOptions options{.pad_h = 1, .pad_w = 1};
  Block block;
  const auto normalised = [&](Var y) {
    const BatchNormResult norm = batch_norm_training(y, scale, shift, 1e-5);
    block.outputs.push_back(affine(norm.mean, 0.1));
    return norm.y;
  };
  block.stem = relu(normalised(x));
  if (branch_first) {
    const Var branch = normalised(conv2d(block.stem, w, {}, options));
    block.hidden = relu(normalised(conv2d(block.stem, w, {}, options)));
    block.out = relu(add(normalised(conv2d(block.hidden, w, {}, options)), branch));
  } else {
    block.hidden = relu(normalised(conv2d(block.stem, w, {}, options)));
    const Var main = normalised(conv2d(block.hidden, w, {}, options));
    block.out = relu(add(main, conv2d(block.stem, w, {}, options)));
  }
  block.outputs.push_back(block.out);
  // An identity branch.
  const Var last = relu(add(block.out, normalised(conv2d(block.out, w, {}, options))));
  block.outputs.push_back(last);
  const std::vector<Var> gradients =
      tape.gradient(sum(mul(tanh(last), last)), {x, w, scale, shift});
  block.outputs.insert(block.outputs.end(), gradients.begin(), gradients.end());
  return block;
}
Tensor block_value(const Shape& shape) {
  return fill({{DType::f32, shape}, OperandSpec::Values::normal, 0, 0, false}, -1,
              static_cast<std::uint64_t>(shape.elements()) +
                  static_cast<std::uint64_t>(shape.rank()))
      .to(DType::f32);
}
std::vector<Tensor> eager_block(bool branch_first = true, DType precision = DType::f32) {
  Tape tape(Device::cpu(), Mode::training, {.precision = precision});
  const Block block = record_block(
      tape, [&](const char* name, Shape shape) { return tape.input(name, block_value(shape)); },
      branch_first);
  std::vector<Tensor> values;
  for (const Var& output : block.outputs) values.push_back(output.value());
  return values;
}
struct SymbolicBlock {
  explicit SymbolicBlock(bool branch_first = true, DType precision = DType::f32)
      : tape(Device::cpu(), Mode::training, {.precision = precision}) {
    block = record_block(
        tape, [&](const char* name, Shape shape) { return tape.input(name, DType::f32, shape); },
        branch_first);
  }
  Tape tape;
  Block block;
};
std::vector<Tensor> run_block(Program& program) {
  std::vector<NamedTensor> inputs;
  for (const auto& [name, type] : program.inputs())
    inputs.push_back({name, block_value(type.shape)});
  return program.run(inputs);
}

TEST(Fusion, BatchNormAndReluAreOneKernelWithTheSameValues) {
  SymbolicBlock s;
  Program program = s.tape.compile(s.block.outputs, {}, kUnmerged);
  EXPECT_EQ(count(program, "batch_norm_relu"), 4);
  EXPECT_EQ(count(program, "batch_norm_relu_gradient"), 4);
  EXPECT_EQ(count(program, "batch_norm_training"), 1);  // the branch's has no relu
  EXPECT_EQ(count(program, "batch_norm_gradient"), 1);
  for (const char* gone : {"relu", "mask_positive"}) EXPECT_EQ(count(program, gone), 0) << gone;
  expect_equal(run_block(program), eager_block());
}

// Then the normalisation is computed before the branch is known.
TEST(Fusion, NotWithABranchRecordedLater) {
  SymbolicBlock s(false);
  Program program = s.tape.compile(s.block.outputs, {}, kUnmerged);
  EXPECT_EQ(count(program, "batch_norm_relu"), 3);
  EXPECT_EQ(count(program, "relu"), 1);
  expect_equal(run_block(program), eager_block(false));
}

TEST(Fusion, NotWhereTheNormalisedIsAskedFor) {
  SymbolicBlock s;
  s.block.outputs.push_back(s.block.stem.node->operand_data[0]);
  s.block.outputs.push_back(s.block.out.node->operand_data[0]);
  Program program = s.tape.compile(s.block.outputs, {}, kUnmerged);
  EXPECT_EQ(count(program, "batch_norm_relu"), 2);
  EXPECT_EQ(count(program, "relu"), 2);
  std::vector<Tensor> got = run_block(program);
  got.resize(got.size() - 2);
  expect_equal(got, eager_block());
}

// clamp(batch_norm_training(x), low, 6) and its gradients. Channels of scale 0 lie on the bounds.
struct Bounded {
  Var normalised;
  std::vector<Var> outputs;
};
template <class Input>
Bounded record_bounded(Tape& tape, Input input, double low) {
  const Var x = input("x", {3, 4, 4, 5});
  const Var scale = tape.constant(Tensor::from<float>({5}, {1, 0, 0, 2, 0}));
  const Var shift = tape.constant(Tensor::from<float>({5}, {3, 0, 6, 5, 7}));
  const Var normalised = batch_norm_training(x, scale, shift).y, y = clamp(normalised, low, 6);
  const Var wrt[] = {x, scale, shift};
  std::vector<Var> outputs = tape.gradient(sum(mul(y, input("r", {3, 4, 4, 5}))), wrt);
  outputs.push_back(y);
  return {normalised, outputs};
}
std::vector<Tensor> eager_bounded() {
  Tape tape(Device::cpu(), Mode::training);
  std::vector<Tensor> values;
  for (const Var& output :
       record_bounded(
           tape, [&](const char*name, Shape shape) { return tape.input(name, block_value(shape)); },
           0)
           .outputs) {
    values.push_back(output.value());
  }
  return values;
}

TEST(Fusion, BatchNormAndRelu6AreOneKernelWithTheSameValuesOnItsBoundsToo) {
  const auto compiled = [](double low, bool ask_for_normalised, int chunks, auto look) {
    Tape tape(Device::cpu(), Mode::training);
    Bounded b = record_bounded(
        tape, [&](const char* name, Shape shape) { return tape.input(name, DType::f32, shape); },
        low);
    if (ask_for_normalised) b.outputs.push_back(b.normalised);
    Program program = tape.compile(b.outputs, {}, {.without = kUnmerged.without, .chunks = chunks});
    look(program);
  };
  for (const int chunks : {1, 2}) {
    compiled(0, false, chunks, [&](Program& program) {
      EXPECT_EQ(count(program, "batch_norm_relu"), chunks == 1 ? 1 : 2);  // sums and the rest
      EXPECT_EQ(count(program, "batch_norm_relu_gradient"), chunks == 1 ? 1 : 2);
      for (const char* gone : {"clamp", "inside"}) EXPECT_EQ(count(program, gone), 0) << gone;
      if (chunks == 1) expect_equal(run_block(program), eager_bounded());
    });
  }
  compiled(0, true, 1, [&](Program& program) {
    EXPECT_EQ(count(program, "batch_norm_relu"), 0);
    std::vector<Tensor> got = run_block(program);
    got.pop_back();
    expect_equal(got, eager_bounded());
  });
  compiled(-1, false, 1, [&](Program& program) { EXPECT_EQ(count(program, "clamp"), 1); });
}

// relu's cotangent, asked for: with a branch it is an output of the kernel, without one it is not.
TEST(Fusion, WhoAsksForAMaskedCotangentGetsIt) {
  SymbolicBlock s;
  const std::size_t known = s.block.outputs.size();
  std::vector<Var> masks;
  for (const Node* node : s.tape.nodes()) {
    if (node->op->name() == "mask_positive") masks.push_back(node->out());
  }
  ASSERT_EQ(masks.size(), 4u);
  Program alone = s.tape.compile(masks);  // none of the gradients behind them
  const std::vector<Tensor> want = run_block(alone);
  s.block.outputs.insert(s.block.outputs.end(), masks.begin(), masks.end());
  Program program = s.tape.compile(s.block.outputs, {}, kUnmerged);
  EXPECT_EQ(count(program, "batch_norm_relu_gradient"), 2);
  EXPECT_EQ(count(program, "mask_positive"), 2);
  std::vector<Tensor> got = run_block(program);
  expect_equal({got.begin() + static_cast<std::ptrdiff_t>(known), got.end()}, want);
  got.resize(known);
  expect_equal(got, eager_block());
}

TEST(Fusion, NotAcrossACutBehindTheNormalisation) {
  SymbolicBlock s;
  const Var cut = s.block.stem.node->operand_data[0];
  Program program =
      s.tape.compile(std::vector<Var>{s.block.stem, s.block.outputs[0]}, {}, {.cuts = {cut}});
  EXPECT_EQ(count(program, "batch_norm_relu"), 0);
  EXPECT_EQ(count(program, "batch_norm_training"), 1);  // for its mean
}

// One kernel rounds once where several did: as near as bf16 is, not bit for bit.
TEST(Fusion, InBf16ToRounding) {
  SymbolicBlock s(true, DType::bf16);
  Program program = s.tape.compile(s.block.outputs, {}, kUnmerged);
  EXPECT_EQ(count(program, "batch_norm_relu"), 4);
  EXPECT_EQ(count(program, "batch_norm_relu_gradient"), 4);
  const std::vector<Tensor> got = run_block(program), want = eager_block(true, DType::bf16);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t k = 0; k < got.size(); ++k) {
    ASSERT_EQ(got[k].type(), want[k].type()) << k;
    double apart = 0, all = 0;
    for (std::int64_t i = 0; i < want[k].elements(); ++i) {
      apart += std::pow(got[k].item(i) - want[k].item(i), 2);
      all += std::pow(want[k].item(i), 2);
    }
    EXPECT_LE(std::sqrt(apart), 0.03 * std::sqrt(all)) << "output " << k;
  }
}

// A dropout behind it masks as well: its gradient's mask is not relu's.
TEST(Fusion, ADropoutBehindTheReluStaysBesideIt) {
  const auto record_dropped = [](Tape& tape, Var x, Var scale) {
    const Var y = relu(batch_norm_training(x, scale, scale, 1e-5).y);
    const Var dropped = dropout(y, 0.4);
    std::vector<Var> outputs = tape.gradient(sum(square(dropped)), {x, scale});
    outputs.push_back(dropped);
    return outputs;
  };
  Tape eager(Device::cpu(), Mode::training, {7, {}});
  eager.input("step", Tensor::scalar_i64(3));
  std::vector<Tensor> want;
  for (const Var& v : record_dropped(eager, eager.input("x", block_value(kImages)),
                                     eager.input("scale", block_value({7})))) {
    want.push_back(v.value());
  }
  Tape tape(Device::cpu(), Mode::training, {7, {}});
  Program program = tape.compile(record_dropped(tape, tape.input("x", DType::f32, kImages),
                                                tape.input("scale", DType::f32, {7})));
  EXPECT_EQ(count(program, "batch_norm_relu"), 1);
  EXPECT_EQ(count(program, "dropout"), 2);
  expect_equal(program.run({{"x", block_value(kImages)},
                            {"scale", block_value({7})},
                            {"step", Tensor::scalar_i64(3)}}),
               want);
}

// --- the largest of windows of a relu's result

const Shape kPooled{2, 6, 7,
                    21};  // whole windows, a column left over, channels that fill no vector

struct Pooled {
  Var rectified, pooled;
  std::vector<Var> outputs;
};
Pooled record_pooled(Tape& tape, Var x, const Pool2dOptions& options) {
  Pooled p;
  p.rectified = relu(affine(x, 1.5, -3));
  p.pooled = max_pool2d(p.rectified, options);
  p.outputs = tape.gradient(sum(mul(tanh(p.pooled), affine(p.pooled, 2, -1))), {x});
  p.outputs.push_back(p.pooled);
  return p;
}
std::vector<Tensor> eager_pooled(const Pool2dOptions& options) {
  Tape tape(Device::cpu(), Mode::training, {});
  std::vector<Tensor> values;
  for (const Var& v : record_pooled(tape, tape.input("x", block_value(kPooled)), options).outputs) {
    values.push_back(v.value());
  }
  return values;
}
const Pool2dOptions kWindows[] = {{}, {3, 3, 2, 2, 1, 1}, {2, 3, 1, 1}, {3, 7, 3, 7}};

TEST(Fusion, MaxPoolOfReluIsOneKernelAndItsGradientNeedsNoMask) {
  for (const Pool2dOptions& options : kWindows) {
    Tape tape(Device::cpu(), Mode::training, {});
    const Pooled p = record_pooled(tape, tape.input("x", DType::f32, kPooled), options);
    Program program = tape.compile(p.outputs);
    EXPECT_EQ(count(program, "max_pool2d_relu"), 1);
    for (const char* gone : {"relu", "max_pool2d", "mask_positive"}) {
      EXPECT_EQ(count(program, gone), 0) << gone;
    }
    const std::vector<Tensor> got = program.run({{"x", block_value(kPooled)}}),
                              want = eager_pooled(options);
    std::int64_t zeros = 0;  // some windows let nothing through
    for (float y : want[1].values<float>()) zeros += y == 0;
    EXPECT_GT(zeros, 0);
    expect_equal(got, want);
  }
}

TEST(Fusion, NotWhereThePooledReluIsReadElsewhere) {
  Tape tape(Device::cpu(), Mode::training, {});
  Pooled p = record_pooled(tape, tape.input("x", DType::f32, kPooled), {});
  p.outputs.push_back(exp(p.rectified));
  Program program = tape.compile(p.outputs);
  EXPECT_EQ(count(program, "max_pool2d_relu"), 0);
  std::vector<Tensor> got = program.run({{"x", block_value(kPooled)}});
  got.pop_back();
  expect_equal(got, eager_pooled({}));
}

TEST(Fusion, NotWhereThePoolsCotangentIsReadWithoutTheMask) {
  Tape tape(Device::cpu(), Mode::training, {});
  Pooled p = record_pooled(tape, tape.input("x", DType::f32, kPooled), {});
  for (const Node* node : tape.nodes()) {
    if (node->op->name() == "max_pool2d_scatter") p.outputs.push_back(node->out());
  }
  ASSERT_EQ(p.outputs.size(), 3u);
  Program program = tape.compile(p.outputs);
  EXPECT_EQ(count(program, "max_pool2d_relu"), 0);
  std::vector<Tensor> got = program.run({{"x", block_value(kPooled)}});
  got.pop_back();
  expect_equal(got, eager_pooled({}));
}

TEST(Fusion, NotWhereTheIndexIsAskedFor) {
  Tape tape(Device::cpu(), Mode::training, {});
  Pooled p = record_pooled(tape, tape.input("x", DType::f32, kPooled), {});
  p.outputs.push_back(p.pooled.node->out(1));
  Program program = tape.compile(p.outputs);
  EXPECT_EQ(count(program, "max_pool2d_relu"), 0);
}

}  // namespace
}  // namespace tapescope
