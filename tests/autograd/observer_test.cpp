// A run that is looked at is the run itself.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "autograd/ops/ops.h"
#include "autograd/program/program.h"

namespace tapescope {
namespace {

// loss = mean((x w)^2), and w - 0.1 dloss/dw in w's place.
struct Training {
  ParameterRef w = std::make_shared<Parameter>("w", Tensor::full({DType::f32, {3, 2}}, 0.5),
                                               Parameter::Kind::weight);
  Program program = compiled();

  Program compiled() {
    Tape tape(Device::cpu(), Mode::training);
    const Var x = tape.input("x", DType::f32, {4, 3}), weight = tape.parameter(w);
    Var loss;
    {
      const auto in = tape.scope("net");
      loss = mean(square(matmul(x, weight)));
    }
    const Var gradient = tape.gradient(loss, {weight})[0];
    return tape.compile({loss}, {tape.assign(w, add(weight, affine(gradient, -0.1)))});
  }
};

Tensor picture(float value) { return Tensor::full({DType::f32, {4, 3}}, value); }

double sum_of(const Tensor& tensor) {
  double sum = 0;
  for (std::int64_t i = 0; i < tensor.elements(); ++i) sum += tensor.item(i);
  return sum;
}

TEST(Observer, SeesEveryStepInOrderWithItsValues) {
  Training plain, seen;
  const NamedTensor inputs[] = {{"x", picture(1)}};
  const Tensor want = plain.program.run(inputs)[0];
  const std::vector<StepInfo> steps = seen.program.steps();
  std::size_t next = 0;
  double product = 0, loss = 0;
  const std::vector<Tensor> got = seen.program.run(inputs, [&](const ObservedStep& step) {
    EXPECT_EQ(step.index, next++);
    EXPECT_GE(step.seconds, 0);
    const StepInfo& info = steps[step.index];
    EXPECT_EQ(step.output(0).type(), info.outputs[0]);
    if (info.path == "net/matmul") product = sum_of(step.output(0));
    if (info.path == "net/reshape") loss = step.output(0).item();
    return true;
  });
  EXPECT_EQ(next, steps.size());
  EXPECT_DOUBLE_EQ(product, 4 * 2 * 1.5);
  EXPECT_DOUBLE_EQ(loss, 1.5 * 1.5);
  EXPECT_EQ(got[0].item(), want.item());
  EXPECT_EQ(sum_of(seen.w->value), sum_of(plain.w->value));  // with its effects
  EXPECT_NE(sum_of(seen.w->value), 3.0);
}

TEST(Observer, EndsTheRun) {
  Training training;
  const NamedTensor inputs[] = {{"x", picture(1)}};
  int calls = 0;
  const auto look = [&](const ObservedStep&) { return ++calls < 2; };
  EXPECT_TRUE(training.program.run(inputs, look).empty());
  EXPECT_EQ(calls, 2);
}

TEST(Observer, WithoutEffectsNoParameterChanges) {
  Training training, other;
  const NamedTensor inputs[] = {{"x", picture(1)}};
  const auto look = [](const ObservedStep&) { return true; };
  const std::uint64_t version = training.w->version;
  for (int times = 0; times < 2; ++times) {
    EXPECT_EQ(training.program.run(inputs, look, false)[0].item(), 2.25);
    EXPECT_EQ(sum_of(training.w->value), 3.0);
    EXPECT_EQ(training.w->version, version);
  }
  // And the next run is as if nobody had looked.
  EXPECT_EQ(training.program.run(inputs)[0].item(), other.program.run(inputs)[0].item());
  EXPECT_EQ(sum_of(training.w->value), sum_of(other.w->value));
}

TEST(Observer, FindsTheFirstValueThatIsNotFinite) {
  Training training;
  const float largest = std::numeric_limits<float>::max();
  EXPECT_EQ(training.program.first_non_finite(std::array{NamedTensor{"x", picture(1)}}), "");
  EXPECT_EQ(training.program.first_non_finite(std::array{NamedTensor{"x", picture(largest)}}),
            "net/matmul");
  EXPECT_EQ(training.program.first_non_finite(std::array{NamedTensor{"x", picture(1e30f)}}),
            "net/square");
  EXPECT_EQ(training.program.first_non_finite(std::array{NamedTensor{"x", picture(NAN)}}), "x");
  EXPECT_EQ(sum_of(training.w->value), 3.0);
}

TEST(Observer, CostIsTheSumOverSteps) {
  Training training;
  // Forward, and the gradient by w: x is no parameter.
  EXPECT_EQ(training.program.cost().macs, 2.0 * 4 * 3 * 2);
  EXPECT_EQ(training.program.cost(8).macs, 2.0 * 8 * 3 * 2);
}

}  // namespace
}  // namespace tapescope
