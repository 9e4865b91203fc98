// Program::start and finish: runs that a device does while the host is elsewhere, recorded ones
// among them, and what a guard that is not finite keeps from happening.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "autograd/ops/ops.h"
#include "autograd/program/program.h"
#include "autograd/tape.h"
#include "engine/emulated_runtime.h"
#include "engine/recorded_work.h"
#include "tests/says.h"

namespace tapescope {
namespace {

// What a call that must fail says.
template <class F>
std::string said_by(F&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

ParameterRef vector_on(Device device, std::string name, std::vector<float> values) {
  const Tensor host = Tensor::from<float>({static_cast<std::int64_t>(values.size())},
                                          std::span<const float>(values));
  return std::make_shared<Parameter>(std::move(name), host.to(device), Parameter::Kind::weight);
}

// Running statistics of x, and then loss = sum(x * w) with SGD on w, on one device. Every run has
// one address for its input where `place` says so.
struct Training {
  // Plain descent is no UpdateOp: the host looks at the guard then, on any device.
  explicit Training(Device device, bool record_runs = true, bool plain = false) : device(device) {
    Tape tape(device, Mode::training);
    const Var x = tape.input("x", DType::f32, {2, 3}), rate = tape.input("rate", DType::f32, {});
    const BatchNormResult norm = batch_norm_training(x, tape.parameter(w), tape.parameter(w));
    const RunningStatistics kept =
        running_statistics({tape.pending(mean), tape.pending(variance), tape.pending(batches)},
                           norm.mean, norm.variance, x, 0.1);
    tape.assign(mean, kept.mean);
    tape.assign(variance, kept.variance);
    tape.assign(batches, kept.batches);
    const Var loss = sum(mul(x, tape.parameter(w)));
    const std::vector<ParameterRef> trained = {w};
    const SgdResult next = sgd_update(tape.pending(w), tape.gradient(loss, trained)[0],
                                      tape.pending(u), rate, {.momentum = plain ? 0 : 0.9});
    tape.assign(w, next.parameter);
    if (!plain) tape.assign(u, next.velocity);
    CompileOptions options;
    options.guard = loss;
    options.record_runs = record_runs;
    const Var outputs[] = {loss, norm.mean};
    program = std::make_unique<Program>(tape.compile(outputs, tape.effects(), options));
  }
  // In two slots in turn, as Staging has them; or in three.
  void start(float value) {
    const std::size_t slot = started++ % places;
    if (!slots[slot].defined()) {
      slots[slot] = Tensor({DType::f32, {2, 3}}, device);
      rates[slot] = Tensor::scalar(0.5f).to(device);
    }
    slots[slot].copy_from(Tensor::from<float>({2, 3}, {value, 2, 3, 4, 5, 6}));
    const NamedTensor inputs[] = {{"x", slots[slot]}, {"rate", rates[slot]}};
    program->start(inputs);
  }
  std::vector<float> state() const {
    std::vector<float> all;
    for (const ParameterRef& p : {w, u, mean, variance}) {
      const Tensor host = p->value.host();
      all.insert(all.end(), host.values<float>().begin(), host.values<float>().end());
    }
    all.push_back(static_cast<float>(batches->value.host().item()));
    return all;
  }

  Device device;
  ParameterRef w = vector_on(device, "w", {1, -2, 0.5f}), u = vector_on(device, "u", {0, 0, 0});
  ParameterRef mean = vector_on(device, "mean", {0, 0, 0});
  ParameterRef variance = vector_on(device, "variance", {1, 1, 1});
  ParameterRef batches = std::make_shared<Parameter>("batches", Tensor::scalar_i64(0).to(device),
                                                     Parameter::Kind::buffer);
  std::unique_ptr<Program> program;
  std::array<Tensor, 3> slots, rates;
  std::size_t started = 0, places = 2;
};

std::vector<float> losses_of(Training& training, std::initializer_list<float> values) {
  std::vector<float> losses;
  const auto finish = [&] {
    losses.push_back(training.program->finish().at(0).values<float>()[0]);
  };
  bool ahead = false;
  for (float value : values) {
    training.start(value);
    if (ahead) finish();
    ahead = true;
  }
  finish();
  return losses;
}

TEST(UnderWay, RecordedRunsHaveTheBitsOfOthers) {
  Training recorded(Device::emulated()), plain(Device::emulated(), false), cpu(Device::cpu());
  const std::initializer_list<float> values = {1, 2, 3, 4, 5, 6, 7, 8};
  const std::size_t before = emulated_calls().recorded_runs;
  const std::vector<float> losses = losses_of(recorded, values);
  // Two slots: the first run of each is none, the second records.
  EXPECT_EQ(emulated_calls().recorded_runs - before, 6u);
  EXPECT_EQ(losses, losses_of(plain, values));
  EXPECT_EQ(recorded.state(), plain.state());
  EXPECT_EQ(emulated_calls().recorded_runs - before, 6u);
  const std::vector<float> on_cpu = losses_of(cpu, values);
  for (std::size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(losses[i], on_cpu[i], 1e-4);
  EXPECT_EQ(recorded.state().back(), 8.0f);
}

// Two places for results and three for inputs: each of six pairs is a recording of its own.
TEST(UnderWay, ARecordedRunReadsWhatItsInputsAreNow) {
  Training recorded(Device::emulated()), plain(Device::emulated(), false);
  recorded.places = plain.places = 3;
  const std::initializer_list<float> values = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
  EXPECT_EQ(losses_of(recorded, values), losses_of(plain, values));
  EXPECT_EQ(recorded.state(), plain.state());
}

TEST(UnderWay, AfterAGuardThatIsNotFiniteNothingChanges) {
  for (const auto& [record, plain] : {std::pair{true, false}, {false, false}, {true, true}}) {
    Training training(Device::emulated(), record, plain);
    losses_of(training, {1, 2, 3, 4, 5});  // both slots are recorded
    const std::vector<float> before = training.state();
    training.start(NAN);
    training.start(6);  // nobody knows yet
    EXPECT_TRUE(training.program->finish().empty());
    training.start(7);
    EXPECT_TRUE(training.program->finish().empty());
    EXPECT_TRUE(training.program->finish().empty());
    EXPECT_EQ(training.state(), before);
    // All is told, so it goes on.
    EXPECT_EQ(losses_of(training, {6}).size(), 1u);
    EXPECT_NE(training.state(), before);
    EXPECT_EQ(training.state().back(), before.back() + 1);
  }
}

TEST(UnderWay, RunIsGuardedOnTheDeviceToo) {
  for (const Device device : {Device::cpu(), Device::emulated()}) {
    Training training(device);
    const std::vector<float> before = training.state();
    const auto run = [&](float value) {
      return training.program->run({{"x", Tensor::from<float>({2, 3}, {value, 2, 3, 4, 5, 6})},
                                    {"rate", Tensor::scalar(0.5f)}});
    };
    EXPECT_TRUE(run(NAN).empty());
    EXPECT_EQ(training.state(), before);
    EXPECT_EQ(run(1).size(), 2u);
    EXPECT_EQ(training.state().back(), 1.0f);
  }
}

TEST(UnderWay, AtMostTwoRunsAreUnderWay) {
  Training training(Device::emulated());
  training.start(1);
  training.start(2);
  EXPECT_SAYS(said_by([&] { training.start(3); }), "finish() one first");
  training.program->abandon();
  EXPECT_SAYS(said_by([&] { training.program->finish(); }), "no run was started");
}

TEST(UnderWay, WhatADeviceCannotRecordIsRefused) {
  DeviceRuntime& runtime = DeviceRuntime::of(Device::emulated());
  const Queue queue = runtime.compute_queue();
  const auto record = [&](auto&& work) {
    return said_by([&] { const RecordedWork recorded(runtime, queue, work); });
  };
  float pageable[4] = {};
  Tensor there = Tensor::zeros({DType::f32, {4}}, Device::emulated());
  EXPECT_SAYS(record([&] { runtime.wait(queue); }), "a wait cannot be recorded");
  EXPECT_SAYS(record([&] { runtime.copy(pageable, there.data(), 16, queue); }),
              "a copy that waits");
  EXPECT_SAYS(record([&] { runtime.free(runtime.allocate(1 << 20)); }), "taking memory");
  EXPECT_EQ(record([&] { runtime.fill_zero(there.data(), 16, queue); }), "");
}

}  // namespace
}  // namespace tapescope
