#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <optional>

#include "autograd/program/program.h"
#include "bench/device/device_bench.h"
#include "engine/philox.h"
#include "engine/runtime.h"
#include "layers/losses.h"
#include "layers/models/zoo.h"
#include "layers/optimizers/optimizer.h"

namespace tapescope {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point began) {
  return std::chrono::duration<double>(Clock::now() - began).count();
}

struct Size {
  std::int64_t channels, size, batch;
};

Size size_of_step(const std::string& model, bool small) {
  static const std::map<std::string, Size> sizes = {
      {"lenet", {1, 28, 64}}, {"resnet20", {3, 32, 128}}, {"resnet18", {3, 224, 64}}};
  const auto it = sizes.find(model);
  if (it == sizes.end()) {
    throw usage_error("steps are timed of lenet, resnet20 and resnet18, not of '{}'", model);
  }
  // resnet18 halves five times, and its last maps must be more than one number.
  const std::int64_t least = model == "lenet" ? 28 : model == "resnet20" ? 8 : 64;
  return small ? Size{it->second.channels, least, 2} : it->second;
}

// A model, its step compiled, and a batch of noise on the device.
class Training {
 public:
  Training(const DeviceBench& bench, const std::string& name, const Size& s)
      : runtime_(DeviceRuntime::of(bench.device)),
        model_(make_model(
            {.name = name, .classes = 10, .channels = s.channels, .image_size = s.size})) {
    move_to(bench.device, model_->parameters());
    TapeOptions recording;
    recording.precision = bench.dtype;
    Tape tape(bench.device, Mode::training, recording);
    const Type images{DType::f32, {s.batch, s.size, s.size, s.channels}};
    const Var image = tape.input("image", images.dtype, images.shape);
    const Var label = tape.input("label", DType::i64, {s.batch});
    const Var loss = mean(cross_entropy((*model_)({{"image", image}}).at("logits"), label));
    const std::vector<ParameterRef> parameters = model_->trained_parameters();
    Optimizer optimizer(OptimizerConfig{});
    const Effects effects = optimizer.update(parameters, tape.gradient(loss, parameters));
    CompileOptions options;
    options.guard = loss;
    const Var outputs[] = {loss};
    step_.emplace(tape.compile(outputs, effects, options));

    Tensor pictures(images), labels({DType::i64, {s.batch}});
    PhiloxStream random(1);
    for (float& x : pictures.values<float>()) x = static_cast<float>(random.normal());
    for (std::int64_t& y : labels.values<std::int64_t>()) y = random.below(10);
    inputs_ = {{"image", pictures.to(bench.device)},
               {"label", labels.to(bench.device)},
               {"learning_rate", Tensor::scalar(1e-4f).to(bench.device)},
               {"step", Tensor::scalar_i64(0).to(bench.device)}};
  }

  Program& step() { return *step_; }
  std::span<const NamedTensor> inputs() const { return inputs_; }
  // The loss; NaN where it was not finite.
  double run() {
    const std::vector<Tensor> out = step_->run(inputs_);
    return out.empty() ? std::nan("") : out[0].item(0);
  }

  // Seconds of a step as a training runs them, each read while the next is under way, and of those
  // how long the host takes to ask for it: the best round's. In the first round runs are recorded.
  std::pair<double, double> seconds(int rounds, int steps) {
    std::pair<double, double> best{1e30, 1e30};
    for (int round = 0; round < rounds; ++round) {
      runtime_.wait(runtime_.compute_queue());
      double asking = 0;
      const auto began = Clock::now();
      for (int i = 0; i < steps; ++i) {
        const auto asked = Clock::now();
        step_->start(inputs_);
        asking += since(asked);
        if (i > 0) step_->finish();
      }
      step_->finish();
      best.first = std::min(best.first, since(began) / steps);
      best.second = std::min(best.second, asking / steps);
    }
    return best;
  }

 private:
  DeviceRuntime& runtime_;
  std::unique_ptr<Classifier> model_;
  std::optional<Program> step_;
  std::vector<NamedTensor> inputs_;
};

// Where a step's time goes, by op and variant: each node waited for, so that the sum is more than a
// step's time by a launch and a wait a node.
void profile(DeviceBench& bench, const std::string& label, Training& training) {
  const int runs = bench.small ? 1 : 3;
  constexpr std::size_t kMostRows = 16;
  const std::vector<StepInfo> steps = training.step().steps();
  struct Row {
    std::string name;
    double seconds = 0;
    int nodes = 0;
  };
  std::map<std::string, Row> rows;
  double total = 0;
  for (int run = 0; run < runs; ++run) {
    const auto observe = [&](const ObservedStep& observed) {
      const StepInfo& step = steps[observed.index];
      const std::string name = std::string(step.op->name()) + " " + step.variant;
      Row& row = rows[name];
      row.name = name;
      row.seconds += observed.seconds / runs;
      row.nodes += run == 0;
      total += observed.seconds / runs;
      return true;
    };
    training.step().run(training.inputs(), observe);
  }
  std::vector<Row> sorted;
  for (auto& [name, row] : rows) sorted.push_back(std::move(row));
  std::sort(sorted.begin(), sorted.end(),
            [](const Row& a, const Row& b) { return a.seconds > b.seconds; });
  if (sorted.size() > kMostRows) sorted.resize(kMostRows);
  for (const Row& row : sorted) {
    bench.row(label + ": " + row.name, "measured",
              {{"ms", row.seconds * 1e3}, {"%", 100 * row.seconds / total}, {"nodes", row.nodes}});
  }
}

}  // namespace

void time_steps(DeviceBench& bench, const std::string& model) {
  const Size s = size_of_step(model, bench.small);
  const std::string label = fmt::format("{} {}x{}x{} batch {} {}", model, s.size, s.size,
                                        s.channels, s.batch, name_of(bench.dtype));
  Training training(bench, model, s);
  double loss = training.run();
  for (int i = 1; i < bench.steps; ++i) loss = training.run();
  if (!std::isfinite(loss)) {
    bench.row(label, "failed", {{"detail", fmt::format("the loss is {}", loss)}});
    return;
  }
  if (bench.profile) return profile(bench, label, training);
  const std::size_t nodes = training.step().steps().size();
  if (bench.steps > 0) {
    bench.row(label, "passed", {{"steps", bench.steps}, {"nodes", nodes}, {"loss", loss}});
    return;
  }
  const auto [seconds, asking] = bench.small ? training.seconds(1, 1) : training.seconds(3, 20);
  bench.row(label, "measured",
            {{"ms", seconds * 1e3}, {"ms of the host", asking * 1e3}, {"nodes", nodes}});
}

}  // namespace tapescope
