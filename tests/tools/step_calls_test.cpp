// What a training step asks of a device, counted on the emulator: launches, copies and waits cost a
// GPU microseconds each, and creep in unseen.
#include <gtest/gtest.h>

#include <map>

#include "engine/emulated_runtime.h"
#include "engine/philox.h"
#include "kernels/emulator/execution.h"
#include "layers/models/zoo.h"
#include "tests/tools/drawn_pictures.h"
#include "tools/training/trainer.h"

namespace tapescope {
namespace {

// Noise in two classes.
class Noise final : public DrawnPictures {
 public:
  Noise(int side, int channels) : DrawnPictures(channels, {"even", "odd"}) {
    PhiloxStream random(3);
    for (int i = 0; i < 20; ++i) {
      Image& image = images_.emplace_back(side, side, channels);
      for (int y = 0; y < side; ++y) {
        for (int x = 0; x < side * channels; ++x) {
          image.at(y, 0)[x] = static_cast<std::uint8_t>(random.below(256));
        }
      }
    }
  }
};

struct Calls {
  std::size_t launches, copies, fills, waits, event_waits, recordings, recorded_runs;
  friend bool operator==(const Calls&, const Calls&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Calls& c) {
    return out << "launches " << c.launches << ", copies " << c.copies << ", fills " << c.fills
               << ", waits " << c.waits << ", event waits " << c.event_waits << ", recordings "
               << c.recordings << ", recorded runs " << c.recorded_runs;
  }
};
Calls so_far() {
  const EmulatedCalls c = emulated_calls();
  return {emulator::launches(), c.copies,     c.fills,        c.waits,
          c.event_waits,        c.recordings, c.recorded_runs};
}

struct CountedStep {
  Calls calls;
  std::vector<std::string_view> kernels;
};

// Of the steps in the middle of an epoch of ten, each from where the step before was read to where
// it is read itself: in the first four memory is still taken and work recorded, and the last tells
// statistics of the model.
std::vector<CountedStep> steps_of(const std::string& model, int side, int channels, DType precision,
                                  const OptimizerConfig& optimizer = {}) {
  const auto data = std::make_shared<Noise>(side, channels);
  const ModelConfig config{model, 2, channels, side, 0.25, 7};
  const Pipeline plain({ToTensor{}});
  const auto net = make_model(config);
  const Classification task(config, {});
  TrainerOptions options;
  options.epochs = 1;
  options.batch_size = 2;
  options.device = Device::emulated();
  options.precision = precision;
  options.optimizer = optimizer;
  options.log_every = 1;
  Trainer trainer(*net, task, data, nullptr, plain, plain, options);
  std::vector<CountedStep> steps;
  std::vector<std::string_view> kernels;
  emulator::launched_kernels = &kernels;
  Calls before = so_far();
  TrainerEvents events;
  events.step = [&](const StepRecord&) {
    const Calls a = std::exchange(before, so_far()), b = before;
    steps.push_back({{b.launches - a.launches, b.copies - a.copies, b.fills - a.fills,
                      b.waits - a.waits, b.event_waits - a.event_waits, b.recordings - a.recordings,
                      b.recorded_runs - a.recorded_runs},
                     std::exchange(kernels, {})});
  };
  Progress progress;
  trainer.run(progress, events);
  emulator::launched_kernels = nullptr;
  EXPECT_EQ(steps.size(), 10u);
  return {steps.begin() + 4, steps.begin() + 7};
}

TEST(StepCalls, ATrainingStepAsksNoMoreOfADeviceThanItDid) {
  struct Row {
    const char* model;
    int side, channels;
    DType precision;
    Calls calls;
  };
  // Copies: image, label, learning rate and step go in; what is told of the step and whether it was
  // halted come out. The host waits for nothing but that the step before the one it has just asked
  // for was copied in, and that its result is there. All is one recorded run.
  const Row rows[] = {
      {"lenet", 12, 1, DType::f32, {0, 6, 0, 0, 2, 0, 1}},
      {"lenet", 12, 1, DType::bf16, {0, 6, 0, 0, 2, 0, 1}},
      {"resnet20", 8, 3, DType::f32, {0, 6, 0, 0, 2, 0, 1}},
      {"resnet20", 8, 3, DType::bf16, {0, 6, 0, 0, 2, 0, 1}},
      {"resnet18", 32, 3, DType::f32, {0, 6, 0, 0, 2, 0, 1}},
      {"resnet18", 32, 3, DType::bf16, {0, 6, 0, 0, 2, 0, 1}},
  };
  for (const Row& row : rows) {
    for (const CountedStep& step : steps_of(row.model, row.side, row.channels, row.precision)) {
      EXPECT_EQ(step.calls, row.calls) << row.model << " " << name_of(row.precision);
    }
  }
}

TEST(StepCalls, Kinds) {
  for (DType precision : {DType::f32, DType::bf16}) {
    const std::vector<CountedStep> steps = steps_of("resnet18", 32, 3, precision);
    std::map<std::string_view, int> kinds;
    for (std::string_view kernel : steps[0].kernels) ++kinds[kernel];
    for (const auto& [kernel, count] : kinds) std::cout << count << " " << kernel << "\n";
  }
}

}  // namespace
}  // namespace tapescope
