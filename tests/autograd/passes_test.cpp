// Whatever is recorded and whichever passes run, a Program computes what the tape does: on random
// tapes, with random sets of passes.
#include "autograd/program/passes.h"
#include "autograd/program/recompute.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "tests/autograd/random_tape.h"

namespace tapescope {
namespace {

std::vector<Tensor> eager(std::uint64_t seed, DType dtype) {
  Tape tape(Device::cpu(), Mode::training, {7, {}});
  tape.input("step", RandomTape::value("step", {}));
  const RandomTape random(tape, seed, dtype, true);
  std::vector<Tensor> values;
  for (const Var& var : random.asked()) values.push_back(var.value());
  return values;
}
// In 0 to 5 eighths less memory than it takes, or in as little as it can do with.
Program compile_within_limit(Tape& tape, const RandomTape& random, std::uint64_t seed,
                             CompileOptions options) {
  Program program = tape.compile(random.asked(), {}, options);
  options.memory_limit = program.plan().total() * (8 - seed % 6) / 8;
  try {
    return tape.compile(random.asked(), {}, options);
  } catch (const MemoryLimitError& error) {
    options.memory_limit = error.smallest;
  }
  program = tape.compile(random.asked(), {}, options);
  EXPECT_LE(program.plan().total(), options.memory_limit) << "seed " << seed;
  return program;
}
struct Seen {
  std::set<std::string> ops;
  int repeated = 0;
};
// Runs three times: nothing is kept the first time, and what is kept the second is used the third.
std::vector<Tensor> compiled(std::uint64_t seed, DType dtype, const CompileOptions& options,
                             Seen* seen = nullptr) {
  Tape tape(Device::cpu(), Mode::training, {7, {}});
  tape.step();
  const RandomTape random(tape, seed, dtype, false);
  Program program = compile_within_limit(tape, random, seed, options);
  std::vector<NamedTensor> inputs;
  for (const auto& [name, type] : program.inputs()) {
    inputs.push_back({name, RandomTape::value(name, type)});
  }
  if (seen != nullptr) {
    for (const StepInfo& step : program.steps()) {
      const bool bounded = describe(*step.op).find(" top=") != std::string::npos;
      seen->ops.insert(fmt::format("{}{}", step.op->name(), bounded ? " bounded" : ""));
    }
    seen->repeated += program.recomputed().values;
  }
  const std::vector<Tensor> first = program.run(inputs);
  program.run(inputs);
  std::vector<Tensor> third = program.run(inputs);
  for (std::size_t k = 0; k < third.size(); ++k) {
    EXPECT_EQ(std::memcmp(third[k].data(), first[k].data(), first[k].bytes()), 0) << seed;
  }
  return third;
}
std::vector<std::string> names(bool (*chosen)(const Pass&)) {
  std::vector<std::string> all;
  for (const Pass& pass : passes()) {
    if (chosen(pass)) all.emplace_back(pass.name);
  }
  return all;
}
std::vector<std::string> random_half(std::vector<std::string> from, std::uint64_t seed) {
  PhiloxStream random(seed);
  std::erase_if(from, [&](const std::string&) { return random.below(2) == 0; });
  return from;
}

TEST(Passes, ThoseThatKeepBitsKeepThem) {
  const std::vector<std::string> rounding = names([](const Pass& pass) { return !pass.bits; });
  const std::vector<std::string> exact = names([](const Pass& pass) { return pass.bits; });
  Seen seen;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    CompileOptions options;
    options.keep_fixed = seed % 2 == 0;
    options.without = seed % 3 == 0 ? std::vector<std::string>{} : random_half(exact, seed);
    options.without.insert(options.without.end(), rounding.begin(), rounding.end());
    const std::vector<Tensor> want = eager(seed, DType::f32),
                              got = compiled(seed, DType::f32, options, &seen);
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t k = 0; k < want.size(); ++k) {
      ASSERT_EQ(got[k].type(), want[k].type());
      for (std::int64_t i = 0; i < want[k].elements(); ++i) {
        const double a = got[k].item(i), b = want[k].item(i);
        ASSERT_TRUE(a == b || (std::isnan(a) && std::isnan(b)))
            << "seed " << seed << " without " << ::testing::PrintToString(options.without)
            << ": output " << k << " element " << i << ": " << a << " and " << b;
      }
    }
  }
  EXPECT_GT(seen.repeated, 500);
}

TEST(Passes, AllOfThemChangeValuesByRoundingAtMost) {
  const std::vector<std::string> all = names([](const Pass&) { return true; });
  Seen seen;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    CompileOptions options;
    options.keep_fixed = seed % 4 != 0;
    options.chunks = 1 << seed % 5 % 3;
    if (seed % 3 != 0) options.without = random_half(all, seed);
    const std::vector<Tensor> want = eager(seed, DType::f64),
                              got = compiled(seed, DType::f64, options, &seen);
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t k = 0; k < want.size(); ++k) {
      ASSERT_EQ(got[k].type(), want[k].type());
      // A sum that cancels has the rounding of what it was made of.
      double scale = options.chunks > 1 ? 1e-4 * largest_of(want) : 1e-300;
      for (std::int64_t i = 0; i < want[k].elements(); ++i) {
        scale = std::max(scale, std::abs(want[k].item(i)));
      }
      if (!std::isfinite(scale)) continue;
      for (std::int64_t i = 0; i < want[k].elements(); ++i) {
        ASSERT_NEAR(got[k].item(i), want[k].item(i), 1e-9 * scale)
            << "seed " << seed << " without " << ::testing::PrintToString(options.without)
            << ": output " << k << " element " << i;
      }
    }
  }
  // The tapes had something for each of them to do.
  for (const char* made : {"batch_norm_relu", "batch_norm_relu_gradient", "batch_norm_relu bounded",
                           "batch_norm_relu_gradient bounded", "relu_dropout", "max_pool2d_relu"}) {
    EXPECT_TRUE(seen.ops.contains(made)) << made;
  }
}

TEST(Passes, AreLeftOutByName) {
  Tape tape(Device::cpu(), Mode::training);
  const Var x = tape.input("x", DType::f32, {2, 3});
  const Var y = add(tapescope::tanh(x), tapescope::tanh(x));
  const auto steps = [&](std::vector<std::string> without) {
    return tape.compile(std::vector{y}, {}, {.without = std::move(without)}).steps().size();
  };
  EXPECT_EQ(steps({}), 2u);
  EXPECT_EQ(steps({"merge_common_steps"}), 3u);
  EXPECT_EQ(steps({"all"}), 3u);
  EXPECT_EQ(steps({"fuse_dropout,merge_common_steps"}), 3u);
  try {
    steps({"merge"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("there is no pass 'merge'; there are "),
              std::string::npos)
        << error.what();
  }
}

TEST(Passes, ConstantsAreFolded) {
  Tape tape(Device::cpu(), Mode::training);
  const Var x = tape.input("x", DType::f32, {2, 3});
  const Var y = mul(x, affine(tape.scalar(3), 2, 1));
  Program program = tape.compile({y});
  ASSERT_EQ(program.steps().size(), 1u);
  EXPECT_EQ(program.run({{"x", Tensor::full({DType::f32, {2, 3}}, 2)}})[0].item(5), 14);
}

}  // namespace
}  // namespace tapescope
