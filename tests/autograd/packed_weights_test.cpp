// What depends on parameters only, and what kernels make of it, is kept from run to run: seen in
// the time alone.
#include <gtest/gtest.h>

#include "autograd/ops/ops.h"
#include "autograd/program/program.h"
#include "engine/allocator.h"
#include "engine/philox.h"

namespace tapescope {
namespace {

Tensor noise(Shape shape, std::uint64_t seed) {
  Tensor values({DType::f32, shape});
  PhiloxStream random(seed);
  for (float& v : values.values<float>()) v = static_cast<float>(random.normal());
  return values;
}

// Two convolutions by one weight, and the gradient through both.
struct Net {
  ParameterRef weight =
      std::make_shared<Parameter>("w", noise({32, 3, 3, 32}, 1), Parameter::Kind::weight);
  Tensor picture = noise({1, 12, 12, 32}, 2);

  Program compile(bool keep, bool gradient = false) const {
    Tape tape(Device::cpu(), Mode::evaluation);
    const Var x = tape.input("x", DType::f32, {1, 12, 12, 32});
    const Var w = tape.parameter(weight);
    const Conv2dOptions same{.pad_h = 1, .pad_w = 1};
    const Var y = conv2d(conv2d(x, w, {}, same), w, {}, same);
    const Var out = gradient ? tape.gradient(sum(y), {x})[0] : y;
    return tape.compile(std::vector{out}, {}, {.keep_fixed = keep});
  }
  Tensor run(Program& program) const { return program.run({{"x", picture}})[0]; }
};

void expect_same_bits(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.type(), b.type());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.bytes()), 0);
}

TEST(PackedWeights, ChangeNoBit) {
  const Net net;
  for (const bool gradient : {false, true}) {
    Program plain = net.compile(false, gradient), kept = net.compile(true, gradient);
    ASSERT_EQ(kept.steps().back().variant, "winograd");
    const Tensor want = net.run(plain);
    for (int times = 0; times < 3; ++times) expect_same_bits(net.run(kept), want);
  }
}

// By tap only those are packed that meet the map: another map, another packing of the same weight.
TEST(PackedWeights, OfMapsOfAFewPixelsArePackedByTheMap) {
  const Net net;
  const auto compile = [&](bool keep, bool gradient) {
    Tape tape(Device::cpu(), Mode::evaluation);
    const Var x = tape.input("x", DType::f32, {1, 2, 2, 32}), w = tape.parameter(net.weight);
    const Conv2dOptions same{.pad_h = 1, .pad_w = 1};
    const Var y = conv2d(avg_pool2d(conv2d(x, w, {}, same), {}), w, {}, same);
    const Var out = gradient ? tape.gradient(sum(y), {x})[0] : y;
    return tape.compile(std::vector{out}, {}, {.keep_fixed = keep});
  };
  const Tensor picture = noise({1, 2, 2, 32}, 3);
  for (const bool gradient : {false, true}) {
    Program plain = compile(false, gradient), kept = compile(true, gradient);
    const std::vector<StepInfo> steps = kept.steps();
    EXPECT_EQ(std::count_if(steps.begin(), steps.end(),
                            [](const StepInfo& step) { return step.variant == "by_tap"; }),
              gradient ? 4 : 2);
    // Nine taps of the one and the middle one of the other; turned as well for the gradient.
    EXPECT_EQ(kept.plan().packed, (gradient ? 20 : 10) * 32 * 32 * sizeof(float));
    const Tensor want = plain.run({{"x", picture}})[0];
    for (int times = 0; times < 3; ++times) {
      expect_same_bits(kept.run({{"x", picture}})[0], want);
    }
  }
}

TEST(PackedWeights, FollowTheParameter) {
  const Net net;
  Program plain = net.compile(false), kept = net.compile(true);
  const Tensor before = net.run(kept);
  net.weight->value.values<float>()[5] += 1;
  net.weight->changed();
  const Tensor after = net.run(kept);
  EXPECT_NE(std::memcmp(before.data(), after.data(), before.bytes()), 0);
  expect_same_bits(after, net.run(plain));
  net.weight->value = noise({32, 3, 3, 32}, 7);  // another tensor, and nobody was told
  expect_same_bits(net.run(kept), net.run(plain));
}

TEST(PackedWeights, AreMadeOncePerLayoutAndPlanned) {
  const Net net;
  Program first = net.compile(true), second = net.compile(true);
  const MemoryPlan plan = first.plan(), without = net.compile(false).plan();
  EXPECT_EQ(without.packed, 0u);
  EXPECT_GE(plan.packed, 36 * 32 * 32 * sizeof(float));
  EXPECT_LT(plan.arena, without.arena);
  net.run(first);
  const std::size_t one = Allocator::of(Device::cpu()).use().live;
  net.run(first);
  EXPECT_EQ(Allocator::of(Device::cpu()).use().live, one);
  net.run(second);  // an arena of its own (rounded up), no packing of its own
  EXPECT_LT(Allocator::of(Device::cpu()).use().live, one + second.plan().arena + plan.packed / 2);
}

TEST(PackedWeights, AreNotKeptOfWhatTheProgramAssigns) {
  const Net net;
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", DType::f32, {1, 12, 12, 32});
  const Var w = tape.parameter(net.weight);
  const Var y = conv2d(x, w, {}, {.pad_h = 1, .pad_w = 1});
  const Effects effects{tape.assign(net.weight, affine(w, 0.5, 0))};
  Program program = tape.compile(std::vector{y}, effects, {.keep_fixed = true});
  EXPECT_EQ(program.plan().packed, 0u);
  const Tensor one = net.run(program), two = net.run(program);
  for (std::int64_t i = 0; i < one.elements(); ++i) {
    ASSERT_NEAR(two.item(i), 0.5 * one.item(i), 1e-4);
  }
}

// The convolution's weights are made of the parameter, as relevance rules make them.
Program of_positive_weights(const Net& net, bool keep, std::shared_ptr<SharedArena> arena = {}) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x = tape.input("x", DType::f32, {1, 12, 12, 32});
  const Var y = conv2d(x, relu(tape.parameter(net.weight)), {}, {.pad_h = 1, .pad_w = 1});
  return tape.compile(std::vector{y}, {}, {.arena = std::move(arena), .keep_fixed = keep});
}

// Whether its relu ran.
bool relu_runs(Program& program, const Net& net, const Tensor& want) {
  double seconds = 0;
  const NamedTensor inputs[] = {{"x", net.picture}};
  const std::vector<Tensor> got = program.run(inputs, [&](const ObservedStep& step) {
    if (step.index == 0) seconds = step.seconds;
    return true;
  });
  expect_same_bits(got[0], want);
  return seconds > 0;
}

TEST(FixedSteps, RunOnceAndChangeNoBit) {
  const Net net;
  Program plain = of_positive_weights(net, false), kept = of_positive_weights(net, true);
  ASSERT_EQ(kept.steps()[0].op->name(), "relu");
  const Tensor want = net.run(plain);
  for (int times = 0; times < 4; ++times) {
    EXPECT_EQ(relu_runs(kept, net, want), times == 0);  // what is kept takes no time
    expect_same_bits(net.run(kept), want);
  }
}

TEST(FixedSteps, AreNotKeptOfAFirstRun) {
  const Net net;
  Program program = of_positive_weights(net, true);
  const Allocator& memory = Allocator::of(Device::cpu());
  const std::size_t kept = program.plan().kept;
  EXPECT_GE(kept, 36 * 32 * 32 * sizeof(float));  // Winograd's transforms
  const Tensor want = net.run(program);
  const std::size_t once = memory.use().live;
  EXPECT_TRUE(relu_runs(program, net, want));
  EXPECT_GE(memory.use().live, once + kept);
  EXPECT_FALSE(relu_runs(program, net, want));
}

TEST(FixedSteps, AreKeptWhereASharedArenaHasRoom) {
  const Net net;
  const std::size_t bytes = of_positive_weights(net, true).plan().kept;
  const auto arena = std::make_shared<SharedArena>(SharedArena{{}, bytes});
  auto first = std::make_unique<Program>(of_positive_weights(net, true, arena));
  Program second = of_positive_weights(net, true, arena), plain = of_positive_weights(net, false);
  const Tensor want = net.run(plain);
  for (int times = 0; times < 4; ++times) {
    EXPECT_EQ(relu_runs(*first, net, want), times < 2);
    EXPECT_TRUE(relu_runs(second, net, want));
  }
  EXPECT_EQ(arena->may_keep, 0u);
  EXPECT_GE(arena->memory.bytes(), second.plan().arena);
  first.reset();
  EXPECT_EQ(arena->may_keep, bytes);
  EXPECT_TRUE(relu_runs(second, net, want));
  EXPECT_FALSE(relu_runs(second, net, want));
}

TEST(FixedSteps, FollowParametersAndBatches) {
  const Net net;
  Program plain = of_positive_weights(net, false), kept = of_positive_weights(net, true);
  const Tensor two = noise({2, 12, 12, 32}, 9);
  for (int times = 0; times < 3; ++times) {
    // Other batch sizes use the same memory.
    expect_same_bits(kept.run({{"x", two}})[0], plain.run({{"x", two}})[0]);
    expect_same_bits(net.run(kept), net.run(plain));
    expect_same_bits(net.run(kept), net.run(plain));
    net.weight->value.values<float>()[static_cast<std::size_t>(times)] = 3;
    net.weight->changed();
    expect_same_bits(net.run(kept), net.run(plain));
  }
}

}  // namespace
}  // namespace tapescope
