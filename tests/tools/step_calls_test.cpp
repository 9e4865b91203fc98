// What a training step asks of a device, counted on the emulator: launches, copies and waits cost a
// GPU microseconds each, and creep in unseen.
#include <gtest/gtest.h>

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
    for (int i = 0; i < 14; ++i) {
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
  std::size_t launches, copies, fills, waits, event_waits;
  friend bool operator==(const Calls&, const Calls&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Calls& c) {
    return out << "launches " << c.launches << ", copies " << c.copies << ", fills " << c.fills
               << ", waits " << c.waits << ", event waits " << c.event_waits;
  }
};
Calls so_far() {
  const EmulatedCalls c = emulated_calls();
  return {emulator::launches(), c.copies, c.fills, c.waits, c.event_waits};
}

// Of the steps in the middle of an epoch of seven: in the first two memory is still taken, and the
// last tells statistics of the model.
std::vector<Calls> calls_of_steps(const std::string& model, int side, int channels,
                                  DType precision) {
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
  options.log_every = 1;
  Trainer trainer(*net, task, data, nullptr, plain, plain, options);
  std::vector<Calls> totals;
  TrainerEvents events;
  events.step = [&](const StepRecord&) { totals.push_back(so_far()); };
  Progress progress;
  trainer.run(progress, events);
  std::vector<Calls> steps;
  for (std::size_t i = 3; i + 1 < totals.size(); ++i) {
    const Calls &a = totals[i - 1], &b = totals[i];
    steps.push_back({b.launches - a.launches, b.copies - a.copies, b.fills - a.fills,
                     b.waits - a.waits, b.event_waits - a.event_waits});
  }
  return steps;
}

TEST(StepCalls, ATrainingStepAsksNoMoreOfADeviceThanItDid) {
  struct Row {
    const char* model;
    int side, channels;
    DType precision;
    Calls calls;
  };
  const Row rows[] = {
      // Copies: image, label, learning rate and step go in; the guarded loss, loss, gradient norm
      // and
      // what is told come out, and each of these four is waited for. The other 42 are resnet20's
      // running statistics, 2 of each of 21 norms, which go from where they were computed to where
      // they are kept.
      {"lenet", 12, 1, DType::f32, {62, 8, 0, 4, 1}},
      {"lenet", 12, 1, DType::bf16, {69, 8, 0, 4, 1}},
      {"resnet20", 8, 3, DType::f32, {736, 8 + 42, 0, 4, 1}},
      {"resnet20", 8, 3, DType::bf16, {761, 8 + 42, 0, 4, 1}},
  };
  for (const Row& row : rows) {
    const std::vector<Calls> steps =
        calls_of_steps(row.model, row.side, row.channels, row.precision);
    ASSERT_EQ(steps.size(), 3u);
    for (const Calls& calls : steps) {
      EXPECT_EQ(calls, row.calls) << row.model << " " << name_of(row.precision);
    }
  }
}

}  // namespace
}  // namespace tapescope
