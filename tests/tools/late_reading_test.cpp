// On a device a step is read while the next one runs. What is learnt, where a training stops and
// what it says when it fails are the same as where each is read at once.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "layers/models/zoo.h"
#include "tests/says.h"
#include "tests/tools/drawn_pictures.h"
#include "tools/training/trainer.h"

namespace tapescope {
namespace {

// Pictures, of which one holds a value that is not finite.
class Poisoned final : public SampleSource {
 public:
  explicit Poisoned(std::int64_t which)
      : pictures_(std::make_shared<Halves>(24), Pipeline({ToTensor{}})), which_(which) {}
  std::int64_t size() const override { return pictures_.size(); }
  std::vector<std::pair<std::string, Type>> types() const override { return pictures_.types(); }
  void load(std::int64_t index, const Pipeline::Key& key,
            std::span<void* const> rows) const override {
    pictures_.load(index, key, rows);
    if (index == which_) {
      static_cast<float*>(rows[0])[5] = std::numeric_limits<float>::quiet_NaN();
    }
  }

 private:
  ImageSource pictures_;
  std::int64_t which_;
};

struct Wanted {
  Device device = Device::emulated();
  std::string model = "lenet", optimizer = "sgd";
  DType precision = DType::f32;
  double width = 0.25;
  std::int64_t poisoned = -1;         // the picture
  std::int64_t stop_after = 0;        // steps that were told; 0: at the end
  std::int64_t checkpoint_every = 0;  // 1: each step is read at once
};
struct Trained {
  std::string error;
  std::vector<float> state;  // parameters, statistics and moments
  std::vector<double> losses;
  std::int64_t saved_at = -1;  // the step of the last save
};

Trained train(const Wanted& wanted) {
  const ModelConfig config{wanted.model, 2, 1, 12, wanted.width, 7};
  const auto net = make_model(config);
  const Classification task(config, {});
  TrainerOptions options;
  options.epochs = 2;
  options.batch_size = 3;
  options.device = wanted.device;
  options.precision = wanted.precision;
  options.optimizer.name = wanted.optimizer;
  options.log_every = 1;
  options.checkpoint_every = wanted.checkpoint_every;
  Trainer trainer(*net, task, std::make_shared<Poisoned>(wanted.poisoned), nullptr, options);
  Trained trained;
  TrainerEvents events;
  events.step = [&](const StepRecord& record) { trained.losses.push_back(record.loss); };
  events.save = [&](const Progress& progress, bool, bool) { trained.saved_at = progress.step; };
  events.stop = [&] {
    return wanted.stop_after > 0 &&
           static_cast<std::int64_t>(trained.losses.size()) >= wanted.stop_after;
  };
  Progress progress;
  try {
    trainer.run(progress, events);
  } catch (const Error& error) {
    trained.error = error.what();
  }
  std::vector<ParameterRef> all = net->parameters();
  const std::vector<ParameterRef>& moments = trainer.optimizer().states();
  all.insert(all.end(), moments.begin(), moments.end());
  for (const ParameterRef& parameter : all) {
    const Tensor host = parameter->value.host();
    for (std::int64_t i = 0; i < host.elements(); ++i) {
      trained.state.push_back(static_cast<float>(host.item(i)));
    }
  }
  return trained;
}

TEST(LateReading, ChangesNoBit) {
  const Wanted trainings[] = {
      {.model = "lenet", .optimizer = "adamw"},
      {.model = "resnet20", .optimizer = "sgd"},
      // Wide enough for Hopper's rungs, whose launches are their own.
      {.model = "lenet", .optimizer = "sgd", .precision = DType::bf16, .width = 1},
  };
  for (const Wanted& wanted : trainings) {
    SCOPED_TRACE(wanted.model + " " + wanted.optimizer);
    const Trained recorded = train(wanted);
    setenv("TAPESCOPE_RECORD_RUNS", "0", 1);
    const Trained call_by_call = train(wanted);
    unsetenv("TAPESCOPE_RECORD_RUNS");
    Wanted at_once = wanted;
    at_once.checkpoint_every = 1;
    const Trained read_at_once = train(at_once);
    ASSERT_EQ(recorded.losses.size(), 16u);
    EXPECT_EQ(recorded.losses, call_by_call.losses);
    EXPECT_EQ(recorded.state, call_by_call.state);
    EXPECT_EQ(recorded.losses, read_at_once.losses);
    EXPECT_EQ(recorded.state, read_at_once.state);
  }
}

// The step behind the one that fails is under way by then: it must have changed nothing.
TEST(LateReading, AFailureIsToldOfItsStepAndLeavesWhatWasBeforeIt) {
  for (const char* optimizer : {"sgd", "adamw"}) {
    for (const std::int64_t poisoned : {3, 8, 20}) {
      SCOPED_TRACE(fmt::format("{} picture {}", optimizer, poisoned));
      Wanted wanted{.optimizer = optimizer, .poisoned = poisoned};
      const Trained late = train(wanted);
      wanted.device = Device::cpu();
      const Trained on_cpu = train(wanted);
      EXPECT_SAYS(late.error, "the first value to go wrong is that of 'image'");
      EXPECT_EQ(late.error, on_cpu.error);
      ASSERT_EQ(late.losses.size(), on_cpu.losses.size());
      ASSERT_LT(late.losses.size(), 8u);
      if (late.losses.empty()) continue;
      const Trained clean = train({.optimizer = optimizer,
                                   .stop_after = static_cast<std::int64_t>(late.losses.size()),
                                   .checkpoint_every = 1});
      EXPECT_EQ(late.state, clean.state);
    }
  }
}

TEST(LateReading, AStopKeepsTheStepThatWasUnderWay) {
  const Trained late = train({.stop_after = 3});
  EXPECT_EQ(late.saved_at, 4);
  const Trained exact = train({.stop_after = 4, .checkpoint_every = 1});
  EXPECT_EQ(exact.saved_at, 4);
  EXPECT_EQ(late.state, exact.state);
  EXPECT_EQ(train({.device = Device::cpu(), .stop_after = 3}).saved_at, 3);
}

}  // namespace
}  // namespace tapescope
