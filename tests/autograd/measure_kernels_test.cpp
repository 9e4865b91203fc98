// Kernels chosen by measuring, among variants that take as long as they are told to.
#include "autograd/program/measure_kernels.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "autograd/ops/ops.h"
#include "tests/autograd/thread_ranks.h"

namespace tapescope {
namespace {

using Milliseconds = std::chrono::milliseconds;

// Of each variant of the family "wait", by what it is called with; of ranks, which are threads,
// each has its own. The result is x plus the variant's number, so that bits tell which one ran.
constexpr int kVariants = 5;
struct Times {
  int small[kVariants] = {}, large[kVariants] = {};
  int debt_of = -1, debt = 0;             // what the step's last node takes where this variant ran
  std::size_t workspace[kVariants] = {};  // bytes
};
thread_local Times times;
thread_local int ran = -1;

struct WaitShape {
  DType dtype = DType::f32;
  std::int64_t rows = 0, width = 0;
  std::string key() const { return fmt::format("f32 {}", width); }
};

template <int variant>
Plan wait(const WaitShape& shape) {
  static constexpr const char* kNames[] = {"usual", "second", "third", "naive", "by_name_only"};
  return Plan(kNames[variant], times.workspace[variant], [shape](const Queue&, const Buffers& b) {
    const int* all = shape.width > 4 ? times.large : times.small;
    std::this_thread::sleep_for(Milliseconds(all[variant]));
    ran = variant;
    for (std::int64_t i = 0; i < shape.rows * shape.width; ++i) {
      static_cast<float*>(b.out[0])[i] = static_cast<const float*>(b.in[0])[i] + variant;
    }
  });
}
bool is_narrow(const WaitShape& shape) { return shape.width <= 4; }

Variants<WaitShape> wait_variants() {
  static const Variant<WaitShape> rows[] = {
      {.name = "usual", .dtypes = {DType::f32}, .note = "", .prepare = wait<0>},
      {.name = "second", .dtypes = {DType::f32}, .note = "", .prepare = wait<1>},
      {.name = "third",
       .dtypes = {DType::f32},
       .note = "",
       .prepare = wait<2>,
       .supports = is_narrow},
      {.name = "naive", .dtypes = {DType::f32}, .note = "", .prepare = wait<3>},
      {.name = "by_name_only",
       .dtypes = {DType::f32},
       .error_factor = 8192,
       .tf32 = true,
       .note = "",
       .prepare = wait<4>},
  };
  return {"wait", rows};
}

// `debt`: an op that has nothing to choose and pays for what ran before it.
class WaitOp final : public Op {
 public:
  explicit WaitOp(bool debt) : debt_(debt) {}
  std::string_view name() const override { return debt_ ? "debt" : "wait"; }
  void attributes(AttributeVisitor&) const override {}
  Types infer(std::span<const Type> t) const override { return {t[0]}; }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    const WaitShape shape{DType::f32, t[0].shape[0], t[0].shape[1]};
    if (!debt_) return prepare_from(wait_variants(), shape, DType::f32, backend);
    return Plan("debt", 0, [n = t[0].bytes()](const Queue&, const Buffers& b) {
      if (ran == times.debt_of) std::this_thread::sleep_for(Milliseconds(times.debt));
      std::memcpy(b.out[0], b.in[0], n);
    });
  }
  void vjp(Vjp&) const override {}
  Role role(int) const override { return Role::signal; }
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::linear; }
  Cost cost(std::span<const Type> t, std::span<const Type> out) const override {
    return memory_cost(t, out, 1);
  }
  Footprint footprint() const override { return {}; }

 private:
  bool debt_;
};

// y = wait(wait(x {4, 3})), z = debt(wait(x2 {4, 9})), and w becomes w + 1.
struct Net {
  ParameterRef w =
      std::make_shared<Parameter>("w", Tensor::full({DType::f32, {2}}, 1), Parameter::Kind::weight);
  Program program;

  explicit Net(KernelChoices choices = {}) : program(compiled(std::move(choices))) {}
  Program compiled(KernelChoices choices) {
    Tape tape(Device::cpu(), Mode::training, {.kernels = std::move(choices)});
    const OpRef wait = std::make_shared<WaitOp>(false), debt = std::make_shared<WaitOp>(true);
    const Var small = tape.input("small", DType::f32, {4, 3});
    const Var large = tape.input("large", DType::f32, {4, 9});
    const Var y = tape.record(wait, {tape.record(wait, {small}).out()}).out();
    const Var z = tape.record(debt, {tape.record(wait, {large}).out()}).out();
    return tape.compile({y, z}, {tape.assign(w, affine(tape.parameter(w), 1, 1))});
  }
  // Which variants run: what is added to zeros.
  std::pair<double, double> added(std::int64_t rows = 4) {
    const std::vector<Tensor> out =
        program.run({{"small", Tensor::zeros({DType::f32, {rows, 3}})},
                     {"large", Tensor::zeros({DType::f32, {rows, 9}})}});
    return {out[0].item(0) / 2, out[1].item(0)};
  }
};

constexpr MeasureLimits kQuick{.rounds = 2, .seconds = 60};

class MeasureKernels : public ::testing::Test {
 protected:
  void SetUp() override { times = {}; }
};

TEST_F(MeasureKernels, TakesTheFastestOfEachShapeAndChangesNoParameter) {
  times = {{6, 3, 9, 0, 0}, {2, 8, 0, 0, 0}};
  Net net;
  const KernelMeasurement m = measure_kernels(net.program, 4, nullptr, kQuick);
  EXPECT_EQ(net.w->value.item(0), 1);
  EXPECT_EQ(m.asked, 2u);
  ASSERT_EQ(m.kernels.size(), 2u);
  EXPECT_EQ(m.kernels[0].kernel, "wait f32 3");
  // Neither the textbook's loops nor what its name alone chooses, quick as they are, and of the
  // wide shape not the variant that does not cover it.
  EXPECT_EQ(m.kernels[0].variants, (std::vector<std::string>{"usual", "second", "third"}));
  EXPECT_EQ(m.kernels[1].variants, (std::vector<std::string>{"usual", "second"}));
  EXPECT_EQ(m.choices(), (KernelChoices{{"wait f32 3", "second"}, {"wait f32 9", "usual"}}));
  EXPECT_GE(m.kernels[0].seconds[0], 0.012) << "both nodes of the shape";
  EXPECT_GE(m.kernels[0].seconds[1], 0.006);
  EXPECT_LT(m.step, m.usual_step);
  EXPECT_EQ(net.added(), (std::pair{1.0, 0.0})) << "the Program has the choices";
  EXPECT_EQ(net.added(1), (std::pair{1.0, 0.0})) << "of a batch of another size, too";
  EXPECT_EQ(net.w->value.item(0), 3) << "and its effects";

  Net other(m.choices());
  EXPECT_EQ(other.added(), (std::pair{1.0, 0.0})) << "whoever is given them";
}

TEST_F(MeasureKernels, KeepsTheUsualOneWhereNothingIsFaster) {
  times = {{2, 4, 4, 0, 0}, {2, 4, 0, 0, 0}};
  Net net;
  const KernelMeasurement m = measure_kernels(net.program, 4, nullptr, kQuick);
  EXPECT_EQ(m.choices(), (KernelChoices{{"wait f32 3", "usual"}, {"wait f32 9", "usual"}}));
}

TEST_F(MeasureKernels, WhatMakesTheWholeStepSlowerIsGivenUp) {
  times = {{1, 3, 3, 0, 0}, {6, 2, 0, 0, 0}, /*debt_of=*/1, /*debt=*/9};
  Net net;
  const KernelMeasurement m = measure_kernels(net.program, 4, nullptr, kQuick);
  EXPECT_LT(m.kernels[1].seconds[1], m.kernels[1].seconds[0]);
  EXPECT_EQ(m.choices().at("wait f32 9"), "usual");
  EXPECT_EQ(m.step, m.usual_step);
  EXPECT_EQ(net.added(), (std::pair{0.0, 0.0}));
}

TEST_F(MeasureKernels, WhatIsTriedOrChosenStaysWithinTheBytes) {
  times = {{6, 1, 3, 0, 0}, {6, 1, 0, 0, 0}};
  times.workspace[1] = 4096;
  Net net;
  MeasureLimits limits = kQuick;
  limits.bytes = net.program.plan(4).total();
  const KernelMeasurement m = measure_kernels(net.program, 4, nullptr, limits);
  EXPECT_EQ(m.left_out, 2u);
  EXPECT_EQ(m.kernels[0].variants, (std::vector<std::string>{"usual", "third"}));
  EXPECT_EQ(m.kernels[1].variants, (std::vector<std::string>{"usual"}));
  EXPECT_EQ(m.choices(), (KernelChoices{{"wait f32 3", "third"}, {"wait f32 9", "usual"}}));
  EXPECT_LE(net.program.plan(4).total(), limits.bytes);
  limits.bytes += 4096;
  Net more;
  EXPECT_EQ(measure_kernels(more.program, 4, nullptr, limits).choices(),
            (KernelChoices{{"wait f32 3", "second"}, {"wait f32 9", "second"}}));
  EXPECT_LE(more.program.plan(4).total(), limits.bytes);
}

TEST_F(MeasureKernels, WhatIsAskedForByNameStays) {
  times = {{6, 3, 9, 0, 0}, {2, 8, 0, 0, 0}};
  Net net(KernelChoices{{"wait", "by_name_only"}});
  const KernelMeasurement m = measure_kernels(net.program, 4, nullptr, kQuick);
  EXPECT_EQ(m.asked, 0u);
  EXPECT_TRUE(m.choices().empty());
  EXPECT_EQ(net.added(), (std::pair{4.0, 4.0}));
}

TEST_F(MeasureKernels, OfRanksTheFirstDecides) {
  ThreadRanks(2).run([](Communicator& own) {
    times = own.rank() == 0 ? Times{{6, 3, 9, 0, 0}, {8, 2, 0, 0, 0}}
                            : Times{{1, 8, 8, 0, 0}, {1, 8, 0, 0, 0}};
    Net net;
    const KernelMeasurement m = measure_kernels(net.program, 4, &own, kQuick);
    EXPECT_EQ(m.choices(), (KernelChoices{{"wait f32 3", "second"}, {"wait f32 9", "second"}}));
    EXPECT_EQ(net.added(), (std::pair{1.0, 1.0}));
  });
}

TEST_F(MeasureKernels, RanksWithOtherKernelsAreToldSo) {
  EXPECT_THROW(ThreadRanks(2).run([](Communicator& own) {
    Net net(own.rank() == 0 ? KernelChoices{} : KernelChoices{{"wait", "usual"}});
    measure_kernels(net.program, 4, &own, kQuick);
  }),
               Error);
}

}  // namespace
}  // namespace tapescope
