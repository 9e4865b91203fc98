// Programs within a limit of memory: the same bits, in no more than was said.
#include "autograd/program/recompute.h"

#include <gtest/gtest.h>

#include <cstring>

#include "autograd/program/draft.h"
#include "engine/philox.h"
#include "tests/autograd/random_tape.h"

namespace tapescope {
namespace {

constexpr std::int64_t kRows = 8;

// Convolutions with batch normalisation in training, branches and dropout, their gradients and a
// step along them. Each map is 8 rows x 8 x 8 x 4 f32, 8 KB.
struct Net {
  Tape tape{Device::cpu(), Mode::training, {7, {}}};
  std::vector<ParameterRef> parameters;
  std::vector<Var> outputs;
  Effects effects;

  explicit Net(int layers) {
    tape.step();
    Var x = tape.input("x", DType::f32, {kRows, 8, 8, 4});
    for (int i = 0; i < layers; ++i) {
      const BatchNormResult norm =
          batch_norm_training(conv2d(x, parameter({4, 3, 3, 4}), Var{}, {.pad_h = 1, .pad_w = 1}),
                              parameter({4}), parameter({4}));
      x = relu(i % 2 == 0 ? norm.y : add(norm.y, x));
      if (i % 3 == 1) x = dropout(x, 0.3);
    }
    const Var loss = mean(square(x));
    const std::vector<Var> gradients = tape.gradient(loss, parameters);
    outputs = {loss};
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Var weight = tape.parameter(parameters[i]);
      effects.push_back(tape.assign(parameters[i], sub(weight, affine(gradients[i], 0.1))));
      outputs.push_back(gradients[i]);
    }
  }
  Program compile(std::size_t limit = 0, CompileOptions options = {}) {
    options.memory_limit = limit;
    return tape.compile(outputs, effects, options);
  }
  // Two steps: what they tell, then the parameters.
  std::vector<Tensor> train(Program& program) {
    std::vector<NamedTensor> inputs;
    for (const auto& [name, type] : program.inputs()) {
      inputs.push_back({name, RandomTape::value(name, type)});
    }
    program.run(inputs);
    std::vector<Tensor> told = program.run(inputs);
    for (const ParameterRef& p : parameters) told.push_back(p->value.clone());
    return told;
  }

 private:
  Var parameter(const Shape& shape) {
    const std::string name = fmt::format("p{}", parameters.size());
    parameters.push_back(std::make_shared<Parameter>(
        name, noise({DType::f32, shape}, stable_hash(name)), Parameter::Kind::weight));
    return tape.parameter(parameters.back());
  }
};

void expect_same(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t k = 0; k < a.size(); ++k) {
    EXPECT_EQ(std::memcmp(a[k].data(), b[k].data(), a[k].bytes()), 0) << k;
  }
}

// Steps that are no aliases.
int kernels_of(Program& program) {
  int count = 0;
  for (const StepInfo& step : program.steps()) count += step.op->alias() < 0 ? 1 : 0;
  return count;
}

std::size_t smallest_of(int layers) {
  try {
    Net(layers).compile(1);
  } catch (const MemoryLimitError& error) {
    return error.smallest;
  }
  return 0;
}

TEST(Recompute, KeepsBitsAndTheLimit) {
  Net unlimited(9);
  Program whole = unlimited.compile();
  const std::size_t total = whole.plan().total(), smallest = smallest_of(9);
  EXPECT_EQ(whole.recomputed().values, 0);
  ASSERT_LT(smallest, total * 3 / 5);
  const std::vector<Tensor> want = unlimited.train(whole);
  int repeated = 0;
  for (const std::size_t limit : {total, total * 9 / 10, (smallest + total) / 2, smallest}) {
    Net net(9);
    Program program = net.compile(limit);
    EXPECT_LE(program.plan().total(), limit);
    EXPECT_EQ(program.recomputed().unlimited, total);
    EXPECT_EQ(program.recomputed().values > 0, limit < total);
    EXPECT_GE(program.recomputed().values, repeated);  // more for less
    repeated = program.recomputed().values;
    // Steps done again are there, and nothing else was added but names for what they read.
    EXPECT_EQ(kernels_of(program), kernels_of(whole) + repeated);
    EXPECT_NEAR(program.cost().flops, whole.cost().flops * (1 + program.recomputed().flops),
                1e-9 * whole.cost().flops);
    expect_same(net.train(program), want);
  }
}

// A batch in pieces has sums apart from the rest of a normalisation: only the rest is repeated.
TEST(Recompute, RepeatsNoConvolutionWhileOthersHelp) {
  const CompileOptions in_pieces{.chunks = 4};
  Net unlimited(9);
  Program whole = unlimited.compile(0, in_pieces);
  const std::size_t total = whole.plan().total();
  Net net(9);
  Program program = net.compile(total * 3 / 4, in_pieces);
  EXPECT_LE(program.plan().total(), total * 3 / 4);
  const auto convolutions = [](Program& p) {
    int count = 0;
    for (const StepInfo& step : p.steps()) count += step.op->name() == "conv2d" ? 1 : 0;
    return count;
  };
  EXPECT_GT(program.recomputed().values, 0);
  EXPECT_EQ(convolutions(program), convolutions(whole));
  expect_same(net.train(program), unlimited.train(whole));
}

// A chain of n ops whose gradients read all n results lives in about 2 sqrt(n) of them (Chen et al.
// 2016): sqrt(n) kept, sqrt(n) of the segment that is computed again.
TEST(Recompute, AChainLivesInTwoSquareRoots) {
  constexpr int kLength = 64;
  Tape tape(Device::cpu(), Mode::training);
  const Var x = tape.input("x", DType::f32, {4, 1024});
  Var y = x;
  for (int i = 0; i < kLength; ++i) y = tapescope::tanh(y);
  const Var wrt[] = {x};
  const Var gradient = tape.gradient(sum(y), wrt)[0];
  const std::size_t map = x.type().bytes();
  const auto compile = [&](std::size_t arena) {
    const MemoryPlan beside = tape.compile({gradient}).plan();
    CompileOptions options;
    options.memory_limit = beside.total() - beside.arena + arena;
    return tape.compile(std::vector{gradient}, {}, options);
  };
  Program whole = tape.compile({gradient});
  EXPECT_GT(whole.plan().arena, map * kLength);
  Program program = compile(map * (2 * 8 + 4));
  EXPECT_LE(program.plan().arena, map * (2 * 8 + 4));
  EXPECT_LE(program.recomputed().values, kLength);  // none twice
  const Tensor input = noise(x.type(), 5);
  expect_same(program.run({{"x", input}}), whole.run({{"x", input}}));
}

TEST(Recompute, SaysWhatIsNeededAndHowManyRowsFit) {
  Net net(6);
  const std::size_t total = net.compile().plan().total();
  std::size_t smallest = 0;
  std::int64_t rows = 0;
  const std::size_t limit = smallest_of(6) - 12000;
  try {
    net.compile(limit);
    FAIL();
  } catch (const MemoryLimitError& error) {
    smallest = error.smallest;
    rows = error.rows_that_fit;
    EXPECT_EQ(error.blame(), Blame::usage);
    EXPECT_NE(std::string(error.what())
                  .find(fmt::format("[compile] the memory limit is {} bytes, but a batch of 8 rows "
                                    "needs {}, {} where nothing is computed again; make it {} rows",
                                    limit, smallest, total, rows)),
              std::string::npos)
        << error.what();
  }
  EXPECT_LE(net.compile(smallest).plan().total(), smallest);
  ASSERT_GT(rows, 0);
  ASSERT_LT(rows, kRows);
  EXPECT_LE(net.compile(limit, {.memory_rows = rows}).plan(rows).total(), limit);
  EXPECT_THROW(net.compile(limit, {.memory_rows = rows + 1}), MemoryLimitError);
  try {
    net.compile(1);
    FAIL();
  } catch (const MemoryLimitError& error) {
    EXPECT_EQ(error.rows_that_fit, 0);
  }
}

// Of any drafts at all, also such as no search makes.
// The least that lives at once in drafts with values dropped at random, and the bound, which holds
// for each of them.
std::pair<std::size_t, std::size_t> least_and_bound(const LoweredProgram& program,
                                                    const Backend& backend, int drafts_made) {
  const Needs needs = needs_of(program, types_at(program, 0), backend, {});
  const Drafts drafts(program, needs);
  Draft draft;
  std::size_t least = SIZE_MAX;
  for (int seed = 0; seed < drafts_made; ++seed) {
    PhiloxStream random(static_cast<std::uint64_t>(seed));
    std::vector<int> cuts(program.values.size(), Draft::kKept);
    for (std::size_t v = 0; v < cuts.size(); ++v) {
      const double last = static_cast<double>(program.steps.size()) * random.uniform();
      const bool dropped = drafts.may_repeat(static_cast<int>(v)) && random.uniform() < 0.9;
      if (dropped && seed > 0) cuts[v] = static_cast<int>(last);
    }
    drafts.make(cuts, draft);
    least = std::min(least, draft.largest());
  }
  return {least, drafts.bound()};
}

TEST(Recompute, NoDraftIsBelowTheBound) {
  Net net(9);
  const auto [least, bound] =
      least_and_bound(lower(net.tape, net.outputs, net.effects, {}), net.tape.backend(), 300);
  EXPECT_GE(least, bound);
  EXPECT_GT(bound * 4, least) << "it says nothing";
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Tape tape(Device::cpu(), Mode::training, {7, {}});
    tape.step();
    const RandomTape random(tape, seed, DType::f32, false);
    const auto [some, below] =
        least_and_bound(lower(tape, random.asked(), {}, {}), tape.backend(), 10);
    ASSERT_GE(some, below) << "seed " << seed;
  }
}

// However small the limit, the answer is the same: it is looked for once.
TEST(Recompute, ARefusalNamesTheSameSmallestForEveryLimit) {
  const std::size_t smallest = smallest_of(9);
  for (const std::size_t limit : {smallest / 8, smallest / 2, smallest * 15 / 16}) {
    try {
      Net(9).compile(limit);
      FAIL() << limit;
    } catch (const MemoryLimitError& error) {
      EXPECT_EQ(error.smallest, smallest);
    }
  }
}

TEST(Recompute, LeftOutByNameTheLimitIsStillKept) {
  Net net(6);
  const std::size_t total = net.compile().plan().total();
  const CompileOptions without{.without = {"recompute"}};
  EXPECT_EQ(net.compile(total, without).recomputed().values, 0);
  try {
    net.compile(total - 1, without);
    FAIL();
  } catch (const MemoryLimitError& error) {
    EXPECT_EQ(error.smallest, total);
    EXPECT_NE(std::string(error.what()).find("the pass recompute is left out"), std::string::npos);
  }
}

}  // namespace
}  // namespace tapescope
