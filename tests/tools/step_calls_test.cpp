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

// What a kernel is for, by its name.
std::string_view kind_of(std::string_view kernel) {
  constexpr std::pair<std::string_view, std::string_view> kKinds[] = {
      {"gemm", "products"},
      {"tensor_gemm", "products"},
      {"hopper_gemm", "products"},
      {"tile_moments", "norms"},
      {"merge_moments", "norms"},
      {"normalise", "norms"},
      {"tile_sums", "norms"},
      {"merge_sums", "norms"},
      {"gradient_elements", "norms"},
      {"cast", "casts"},
      {"cast_many", "casts"},
      {"square_pieces", "gradient norm"},
      {"add_pieces", "gradient norm"},
      {"sum_in_order", "gradient norm"},
      {"unary_vectorized<float, unary_sqrt>", "gradient norm"},
      {"join_rows", "told"},
      {"halt", "updates"},
      {"sgd_many", "updates"},
      {"running_statistics", "updates"},
  };
  const std::string_view name = kernel.substr(0, kernel.find('<'));
  for (const auto& [known, kind] : kKinds) {
    if (kernel == known || name == known) return kind;
  }
  return "others";
}
using Kinds = std::map<std::string_view, std::size_t>;
Kinds kinds_of(const CountedStep& step) {
  Kinds kinds;
  for (std::string_view kernel : step.kernels) ++kinds[kind_of(kernel)];
  return kinds;
}

// Copies: image, label, learning rate and step go in; what is told of the step and whether it was
// halted come out. The host waits for no step: only for its batch to have been copied, and for the
// result of the step before. All of a step is one recorded run.
TEST(StepCalls, ATrainingStepAsksNoMoreOfADeviceThanItDid) {
  struct Row {
    const char* model;
    int side, channels;
    DType precision;
    Kinds kinds;
  };
  // By kind, so that it is told which of them has grown. "norms" are three kernels each way,
  // "updates" three in all: parameters, running statistics, and whether there are to be any.
  const Row rows[] = {
      {"lenet",
       12,
       1,
       DType::f32,
       {{"products", 11}, {"gradient norm", 4}, {"told", 1}, {"updates", 2}, {"others", 18}}},
      {"lenet",
       12,
       1,
       DType::bf16,
       {{"products", 11},
        {"casts", 3},
        {"gradient norm", 4},
        {"told", 1},
        {"updates", 2},
        {"others", 18}}},
      {"resnet20",
       8,
       3,
       DType::f32,
       {{"products", 65},
        {"norms", 126},
        {"gradient norm", 12},
        {"told", 2},
        {"updates", 4},
        {"others", 26}}},
      {"resnet20",
       8,
       3,
       DType::bf16,
       {{"products", 65},
        {"norms", 126},
        {"casts", 3},
        {"gradient norm", 12},
        {"told", 2},
        {"updates", 4},
        {"others", 26}}},
      // 62 parameters, 20 norms: 225 launches, and 229.
      {"resnet18",
       32,
       3,
       DType::f32,
       {{"products", 62},
        {"norms", 120},
        {"gradient norm", 12},
        {"told", 2},
        {"updates", 3},
        {"others", 26}}},
      {"resnet18",
       32,
       3,
       DType::bf16,
       {{"products", 74},
        {"norms", 120},
        {"casts", 3},
        {"gradient norm", 12},
        {"told", 2},
        {"updates", 3},
        {"others", 26}}},
  };
  for (const Row& row : rows) {
    for (const CountedStep& step : steps_of(row.model, row.side, row.channels, row.precision)) {
      const std::string what = fmt::format("{} {}", row.model, name_of(row.precision));
      std::size_t launches = 0;
      for (const auto& [kind, most] : row.kinds) {
        EXPECT_EQ(kinds_of(step)[kind], most) << what << ": " << kind;
        launches += most;
      }
      EXPECT_LE(step.calls.launches, launches) << what;
      EXPECT_EQ(step.calls.copies, 6u) << what;
      EXPECT_EQ(step.calls.fills, 0u) << what;
      EXPECT_EQ(step.calls.waits, 0u) << what;
      EXPECT_EQ(step.calls.event_waits, 2u) << what;
      EXPECT_EQ(step.calls.recorded_runs, 1u) << what;
      EXPECT_EQ(step.calls.recordings, 0u) << what;
    }
  }
}

TEST(StepCalls, AdamWIsAsFewLaunchesAsSgd) {
  OptimizerConfig adamw;
  adamw.name = "adamw";
  const std::size_t sgd = steps_of("lenet", 12, 1, DType::f32)[0].calls.launches;
  // One launch more counts the steps.
  EXPECT_LE(steps_of("lenet", 12, 1, DType::f32, adamw)[0].calls.launches, sgd + 1);
}

}  // namespace
}  // namespace tapescope
