// One, two and four ranks that share a batch compute the same bits, whatever is recorded.
#include "autograd/program/share_batch.h"

#include <gtest/gtest.h>

#include <set>

#include "autograd/program/share.h"
#include "tests/autograd/random_tape.h"
#include "tests/autograd/thread_ranks.h"

namespace tapescope {
namespace {

constexpr std::int64_t kRows = 3;  // of RandomTape's batch: shares of 0, 1 and 2 rows

struct Outcome {
  std::vector<Tensor> outputs;
  std::set<std::string> ops;
  int sums = 0, buckets = 0;  // over ranks
};

// What is asked, and the squares of it: an optimiser reads gradients, too.
std::vector<Var> asked_of(const RandomTape& random) {
  std::vector<Var> asked = random.asked();
  for (const Var& value : random.asked()) {
    if (is_floating(value.dtype())) asked.push_back(sum(square(value)));
  }
  return asked;
}

Outcome run_share(std::uint64_t seed, DType dtype, int chunks, Communicator* ranks) {
  constexpr std::size_t kBuckets[] = {std::size_t{4} << 20, 1000, 1, 0};
  Tape tape(Device::cpu(), Mode::training, {7, {}});
  tape.step();
  const RandomTape random(tape, seed, dtype, false);
  Program program = tape.compile(
      asked_of(random), {}, {.chunks = chunks, .ranks = ranks, .bucket_bytes = kBuckets[seed % 4]});
  const RowRange own =
      ranks == nullptr ? RowRange{0, kRows} : piece_of(kRows, ranks->rank(), ranks->size());
  std::vector<NamedTensor> inputs;
  for (const auto& [name, type] : program.inputs()) {
    Tensor value = RandomTape::value(name, type);
    if (name == kFirstRow) value = Tensor::scalar_i64(own.first);
    if (type.shape.rank() > 0 && type.shape[0] == kRows) {
      value = value.rows(own.first, own.first + own.count).clone();
    }
    inputs.push_back({name, value});
  }
  Outcome outcome{program.run(inputs), {}};
  for (const StepInfo& step : program.steps()) {
    outcome.ops.insert(describe(*step.op));
    outcome.sums += step.op->name() == "all_reduce" || step.op->name() == "all_reduce_end";
    outcome.buckets += step.op->name() == "all_reduce_end";
  }
  return outcome;
}

std::vector<Outcome> run_ranks(std::uint64_t seed, DType dtype, int ranks,
                               ThreadRanks::Fault fault = ThreadRanks::Fault::none) {
  std::vector<Outcome> outcomes(static_cast<std::size_t>(ranks));
  ThreadRanks(ranks).run(
      [&](Communicator& own) {
        outcomes[static_cast<std::size_t>(own.rank())] = run_share(seed, dtype, 4 / ranks, &own);
      },
      fault);
  return outcomes;
}

std::string bits(const Tensor& tensor) {
  return {static_cast<const char*>(tensor.data()), tensor.bytes()};
}

// Empty, or what differs: a value that all have is the same on each, one that is split the same
// when put together.
std::string difference(const Outcome& one, const std::vector<Outcome>& ranks) {
  for (std::size_t k = 0; k < one.outputs.size(); ++k) {
    const Tensor& want = one.outputs[k];
    std::int64_t rows = 0;
    std::string together;
    bool all_have_it = true;
    for (const Outcome& rank : ranks) {
      const Tensor& own = rank.outputs[k];
      all_have_it &= own.type() == want.type();
      together += bits(own);
      if (own.shape().rank() > 0) rows += own.shape()[0];
    }
    const bool same_everywhere =
        all_have_it && std::all_of(ranks.begin(), ranks.end(), [&](const Outcome& rank) {
          return bits(rank.outputs[k]) == bits(want);
        });
    const bool split = want.shape().rank() > 0 && rows == want.shape()[0];
    if (!same_everywhere && !(split && together == bits(want))) {
      return fmt::format("output {} of type {}", k, to_string(want.type()));
    }
  }
  return "";
}

TEST(ShareBatch, RanksComputeTheBitsOfOneProcess) {
  std::set<std::string> ops;
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    const DType dtype = seed % 5 == 0 ? DType::f64 : DType::f32;
    const Outcome one = run_share(seed, dtype, 4, nullptr);
    for (int ranks : {2, 4}) {
      const std::vector<Outcome> shared = run_ranks(seed, dtype, ranks);
      ASSERT_EQ(difference(one, shared), "") << "seed " << seed << ", " << ranks << " ranks";
      ops.insert(shared[0].ops.begin(), shared[0].ops.end());
    }
  }
  // There was something for each rule to do.
  std::string all;
  for (const std::string& op : ops) all += op + "\n";
  for (const char* found : {"all_reduce ranks=4", "all_reduce_begin ranks=4 sums=3", "part=sums",
                            "batch_norm_relu_gradient epsilon=1e-05 residual=1 part=sums",
                            "conv2d_weight_gradient", "relu_dropout", "reduce_like", "chunks=2"}) {
    EXPECT_NE(all.find(found), std::string::npos) << found << " in\n" << all;
  }
}

// Two ranks cannot tell one order from another, four can.
TEST(ShareBatch, AnotherOrderOfRanksIsSeen) {
  int seen = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Outcome one = run_share(seed, DType::f32, 4, nullptr);
    const auto shared = run_ranks(seed, DType::f32, 4, ThreadRanks::Fault::order);
    seen += !difference(one, shared).empty();
  }
  EXPECT_GE(seen, 5);
}

TEST(ShareBatch, ASumThatIsLeftOutIsSeen) {
  int seen = 0, summed = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Outcome one = run_share(seed, DType::f32, 4, nullptr);
    const auto shared = run_ranks(seed, DType::f32, 2, ThreadRanks::Fault::skipped);
    seen += !difference(one, shared).empty();
    summed += shared[0].sums >= 5;
  }
  EXPECT_GE(summed, 5);
  EXPECT_EQ(seen, summed);
}

TEST(ShareBatch, ABucketThatIsLeftOutIsSeen) {
  int seen = 0, had_buckets = 0;
  for (std::uint64_t seed = 0; seed < 80; ++seed) {
    const Outcome one = run_share(seed, DType::f32, 4, nullptr);
    const auto shared = run_ranks(seed, DType::f32, 2, ThreadRanks::Fault::skipped_bucket);
    seen += !difference(one, shared).empty();
    had_buckets += shared[0].buckets > 0;
  }
  EXPECT_GE(had_buckets, 10);
  EXPECT_EQ(seen, had_buckets);
}

// A net of four layers without a norm, its step with a norm of the gradients.
TEST(ShareBatch, ABucketBeginsBehindItsLastGradientAndEndsBeforeTheFirstReader) {
  ThreadRanks(2).run([](Communicator& own) {
    Tape tape(Device::cpu(), Mode::training);
    Var x = tape.input("x", DType::f32, {4, 8});
    std::vector<Var> weights;
    for (int k = 0; k < 4; ++k) {
      weights.push_back(tape.input(fmt::format("w{}", k), DType::f32, {8, 8}));
      x = tapescope::tanh(linear(x, weights.back()));
    }
    const Var loss = mean(square(x));
    Var norm;
    for (const Var& gradient : tape.gradient(loss, weights)) {
      const Var squares = sum(square(gradient));
      norm = norm ? add(norm, squares) : squares;
    }
    const auto order = [&](std::size_t bytes) {
      CompileOptions options{.chunks = 1, .ranks = &own, .bucket_bytes = bytes};
      options.guard = loss;
      const Var outputs[] = {loss, norm};
      Program program = tape.compile(outputs, {}, options);
      std::string words;
      for (const StepInfo& step : program.steps()) {
        const std::string name(step.op->name());
        if (name == "matmul" && step.outputs[0].shape == Shape{8, 8}) words += "gradient ";
        // The loss, and how many rows it is the mean of.
        if (name == "all_reduce") words += step.path.find("gradient") == 0 ? "sum " : "loss ";
        if (name == "all_reduce_begin") words += fmt::format("begin{} ", step.operands.size());
        if (name == "all_reduce_end") words += "end ";
        if (name == "square" && step.outputs[0].shape == Shape{8, 8}) words += "read ";
      }
      return words;
    };
    const std::string losses = "loss loss sum ", reads = "read read read read ";
    EXPECT_EQ(order(1 << 20), losses + "gradient gradient gradient gradient begin4 end " + reads);
    EXPECT_EQ(order(512),
              losses + "gradient gradient begin2 gradient gradient begin2 end end " + reads);
    // No more than two are under way.
    EXPECT_EQ(order(1),
              losses +
                  "gradient begin1 gradient begin1 gradient end begin1 gradient end begin1 "
                  "end end " +
                  reads);
    EXPECT_EQ(order(0), losses + "gradient sum gradient sum gradient sum gradient sum " + reads);
  });
}

TEST(ShareBatch, ARunThatEndsEarlyLeavesNoSumUnderWay) {
  ThreadRanks(2).run([](Communicator& own) {
    Tape tape(Device::cpu(), Mode::training);
    const Var x = tape.input("x", DType::f32, {4, 3}), w = tape.input("w", DType::f32, {5, 3});
    const Var y = tapescope::tanh(linear(x, w));
    const Var outputs[] = {tape.gradient(mean(square(y)), {w})[0]};
    Program program = tape.compile(outputs, {}, {.chunks = 1, .ranks = &own});
    const Tensor rows = noise({DType::f32, {2, 3}}, static_cast<std::uint64_t>(own.rank()));
    const NamedTensor inputs[] = {{"x", rows}, {"w", noise({DType::f32, {5, 3}}, 9)}};
    const std::vector<Tensor> before = program.run(inputs);
    for (std::size_t last = 0; last < program.steps().size(); ++last) {
      program.run(inputs, [&](const ObservedStep& step) { return step.index != last; });
    }
    EXPECT_EQ(bits(program.run(inputs)[0]), bits(before[0]));
    EXPECT_THROW(own.finish_sum(), Error);
  });
}

TEST(ShareBatch, PiecesChangeValuesByRoundingAtMost) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const Outcome whole = run_share(seed, DType::f32, 1, nullptr);
    const Outcome pieces = run_share(seed, DType::f32, 4, nullptr);
    for (std::size_t k = 0; k < whole.outputs.size(); ++k) {
      const Tensor &a = whole.outputs[k], &b = pieces.outputs[k];
      double scale = 1e-2 * largest_of(whole.outputs);  // of what cancels
      for (std::int64_t i = 0; i < a.elements(); ++i) scale = std::max(scale, std::abs(a.item(i)));
      if (!std::isfinite(scale)) continue;
      for (std::int64_t i = 0; i < a.elements(); ++i) {
        ASSERT_NEAR(a.item(i), b.item(i), 1e-3 * scale) << "seed " << seed << " output " << k;
      }
    }
  }
}

TEST(ShareBatch, APieceKnowsItsOwnPieces) {
  for (std::int64_t rows = 0; rows < 40; ++rows) {
    std::int64_t next = 0;
    for (int i = 0; i < 8; ++i) {
      const RowRange piece = piece_of(rows, i, 8);
      EXPECT_EQ(piece.first, next);
      next += piece.count;
      for (int ranks : {1, 2, 4, 8}) {
        const RowRange rank = piece_of(rows, i * ranks / 8, ranks);
        const RowRange own = piece_of(rank.count, i % (8 / ranks), 8 / ranks);
        EXPECT_EQ(rank.first + own.first, piece.first);
        EXPECT_EQ(own.count, piece.count);
      }
      EXPECT_TRUE(piece.count == rows / 8 || piece.count == (rows + 7) / 8) << rows;
    }
    EXPECT_EQ(next, rows);
  }
}

TEST(ShareBatch, AverageOverUnequalSharesIsThatOfAll) {
  ThreadRanks(2).run([](Communicator& own) {
    Tape tape(Device::cpu(), Mode::training);
    const Var x = tape.input("x", DType::f32, {5});
    const Var loss = mean(square(x));
    const Var outputs[] = {loss, tape.gradient(loss, {x})[0]};
    Program program = tape.compile(outputs, {}, {.chunks = 1, .ranks = &own});
    const std::vector<float> values =
        own.rank() == 0 ? std::vector<float>{1, 2} : std::vector<float>{3, 4, 5};
    const std::vector<Tensor> out = program.run(
        {{"x", Tensor::from<float>({static_cast<std::int64_t>(values.size())}, values)}});
    EXPECT_FLOAT_EQ(static_cast<float>(out[0].item()), 11);
    EXPECT_FLOAT_EQ(static_cast<float>(out[1].item(1)), own.rank() == 0 ? 0.8f : 1.6f);
  });
}

// What is made of mixed rows may look like a batch, and its gradient like that of one.
TEST(ShareBatch, OneProcessComputesWhatCannotBeCutAsItIs) {
  const auto gradients = [](int chunks) {
    Tape tape(Device::cpu(), Mode::training);
    const Var x = tape.input("x", DType::f32, {4, 3});
    const Var w = tape.input("w", DType::f32, {5, 3});
    const Var y = linear(x, w);
    const Var parts[] = {slice(y, 0, 2, 4), slice(y, 0, 0, 2)};
    const Var loss = mean(square(concat(parts, 0)));
    const Var outputs[] = {loss, tape.gradient(loss, {w})[0]};
    return tape.compile(outputs, {}, {.chunks = chunks})
        .run({{"x", noise({DType::f32, {4, 3}}, 1)}, {"w", noise({DType::f32, {5, 3}}, 2)}});
  };
  const std::vector<Tensor> whole = gradients(1), pieces = gradients(4);
  for (std::size_t k = 0; k < whole.size(); ++k) EXPECT_EQ(bits(whole[k]), bits(pieces[k]));
}

// Recorded with one row, an average over rows is that of as many as there are.
TEST(ShareBatch, AnAverageRecordedWithOneRowIsOverAll) {
  Tape tape(Device::cpu(), Mode::training);
  const Var x = tape.input("x", DType::f32, {1});
  const Var loss = mean(square(x));
  const Var outputs[] = {loss, tape.gradient(loss, {x})[0]};
  Program program = tape.compile(outputs, {}, {.chunks = 2});
  const std::vector<Tensor> out = program.run({{"x", Tensor::from<float>({4}, {1, 2, 3, 4})}});
  EXPECT_EQ(out[0].item(), 7.5);
  EXPECT_EQ(out[1].item(3), 2);
}

TEST(ShareBatch, WhatMixesRowsIsRefusedByName) {
  ThreadRanks ranks(2);
  try {
    ranks.run([](Communicator& own) {
      Tape tape(Device::cpu(), Mode::training);
      const Tape::Scope in(tape, "head");
      const Var x = tape.input("x", DType::f32, {4, 3});
      tape.compile(std::vector{slice(x, 0, 1, 3)}, {}, {.chunks = 1, .ranks = &own});
    });
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("head/slice"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace tapescope
