// A look at training steps: what it counts, whose it says it is, and that it changes nothing.
#include "tools/training/profile.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "layers/losses.h"
#include "layers/models/zoo.h"
#include "layers/optimizers/optimizer.h"
#include "tools/training/estimate.h"

namespace tapescope {
namespace {

using nlohmann::json;

// A training step of a small net, and batches for it.
struct Step {
  std::unique_ptr<Classifier> model = make_model({.name = "lenet", .classes = 3, .width = 0.25});
  Optimizer optimizer{{}};
  std::unique_ptr<Program> program;
  Step() {
    Tape tape(Device::cpu(), Mode::training);
    const Var image = tape.input("image", DType::f32, {4, 28, 28, 1});
    const Var label = tape.input("label", DType::i64, {4});
    const Var loss = mean(cross_entropy(model->logits(image), label));
    const auto parameters = model->trained_parameters();
    const Effects effects = optimizer.update(parameters, tape.gradient(loss, parameters));
    program = std::make_unique<Program>(tape.compile({loss}, effects));
  }
  static std::vector<NamedTensor> batch(std::int64_t i, std::int64_t rows = 4) {
    Tensor image({DType::f32, {rows, 28, 28, 1}});
    const auto values = image.values<float>();
    for (std::size_t k = 0; k < values.size(); ++k) {
      values[k] = static_cast<float>((k * 7 + static_cast<std::size_t>(i)) % 11) / 11;
    }
    std::vector<std::int64_t> labels(static_cast<std::size_t>(rows));
    for (std::size_t k = 0; k < labels.size(); ++k) labels[k] = static_cast<std::int64_t>(k % 3);
    return {{"image", image},
            {"label", Tensor::from<std::int64_t>({rows}, labels)},
            {"step", Tensor::scalar_i64(i)},
            {"learning_rate", Tensor::scalar(0.01f)}};
  }
};

TEST(StepProfile, ChangesNoBit) {
  Step plain, looked_at;
  StepProfile profile(3);
  for (std::int64_t i = 0; i < 7; ++i) {
    const auto batch = Step::batch(i);
    const double expected = plain.program->run(batch)[0].item();
    EXPECT_EQ(profile.run(*looked_at.program, batch, 4)[0].item(), expected) << "step " << i;
  }
  EXPECT_TRUE(profile.complete());
  const auto a = plain.model->parameters(), b = looked_at.model->parameters();
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(std::memcmp(a[i]->value.data(), b[i]->value.data(), a[i]->value.bytes()), 0)
        << a[i]->name;
  }
}

TEST(StepProfile, CountsEveryNodeAndSaysForWhichItIs) {
  Step step;
  StepProfile profile(2);
  for (std::int64_t i = 0; i < 4; ++i) profile.run(*step.program, Step::batch(i), 4);
  const std::vector<ProfiledNode> nodes = profile.nodes();
  const Cost cost = step.program->cost(4);
  double flops = 0, bytes = 0;
  std::map<std::string, std::set<std::string>> owned;
  for (const ProfiledNode& node : nodes) {
    flops += node.cost.flops;
    bytes += node.cost.bytes;
    EXPECT_GE(node.seconds, 0);
    owned[node.owner].insert(node.op);
  }
  EXPECT_DOUBLE_EQ(flops, cost.flops);
  EXPECT_DOUBLE_EQ(bytes, cost.bytes);
  // The convolution's two gradients are of the convolution; the picture's is not asked for.
  EXPECT_TRUE(owned["conv2/conv2d"].contains("conv2d_data_gradient"));
  EXPECT_TRUE(owned["conv2/conv2d"].contains("conv2d_weight_gradient"));
  EXPECT_FALSE(owned["conv1/conv2d"].contains("conv2d_data_gradient"));
  for (const auto& [owner, ops] : owned) EXPECT_FALSE(owner.starts_with("gradient/")) << owner;
}

TEST(StepProfile, MixesNoOtherBatchSizeIn) {
  Step step;
  StepProfile profile(2);
  for (std::int64_t i = 0; i < 3; ++i) profile.run(*step.program, Step::batch(i), 4);
  profile.run(*step.program, Step::batch(3, 2), 2);  // a last batch
  EXPECT_FALSE(profile.complete());
  profile.run(*step.program, Step::batch(4), 4);
  EXPECT_TRUE(profile.complete());
}

TEST(StepProfile, FilesHoldWhatWasSeen) {
  Step step;
  StepProfile profile(2);
  for (std::int64_t i = 0; i < 4; ++i) profile.run(*step.program, Step::batch(i), 4);
  const Ceilings ceilings{.flops_per_second = 1e9, .bytes_per_second = 1e9};
  const json object = json::parse(profile.to_json(ceilings));
  EXPECT_EQ(object["steps"], 2);
  EXPECT_EQ(object["images_per_step"], 4);
  EXPECT_EQ(object["nodes"].size(), step.program->steps(4).size());
  double kernels = 0;
  for (const json& node : object["nodes"]) kernels += node["seconds"].get<double>();
  EXPECT_NEAR(object["seconds_per_step"].get<double>(),
              kernels + object["seconds_outside_kernels"].get<double>(), 0.5 * kernels);
  // Each event of a node lies in a step.
  const json trace = json::parse(profile.to_trace());
  std::vector<std::pair<double, double>> steps;
  for (const json& event : trace["traceEvents"]) {
    const double begin = event["ts"], end = begin + event["dur"].get<double>();
    if (event["name"] == "step") {
      steps.emplace_back(begin, end);
    } else {
      EXPECT_TRUE(begin >= steps.back().first - 1 && end <= steps.back().second + 1)
          << event.dump();
    }
  }
  EXPECT_EQ(steps.size(), 2u);
  // The table fits a screen.
  const std::string text = profile.to_text(ceilings);
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 27);
  EXPECT_NE(text.find("conv2/conv2d"), std::string::npos) << text;
}

// A node that does 1 GFLOP in 0.5 s on a machine of 4 GFLOP/s used half of it.
TEST(StepProfile, ShareOfTheRoof) {
  const ProfiledNode arithmetic{.seconds = 0.5, .cost = {.flops = 1e9, .bytes = 8}};
  EXPECT_DOUBLE_EQ(arithmetic.share_of_roof({4e9, 1e9}), 0.5);
  const ProfiledNode memory{.seconds = 2, .cost = {.flops = 8, .bytes = 1e9}};
  EXPECT_DOUBLE_EQ(memory.share_of_roof({4e9, 1e9}), 0.5);
  const ProfiledNode nothing{};
  EXPECT_EQ(nothing.share_of_roof({4e9, 1e9}), 0);
}

// Of a device whose ceilings are not known no share is told.
TEST(StepProfile, TellsNoShareOfAnUnknownRoof) {
  Step step;
  StepProfile profile(1);
  for (std::int64_t i = 0; i < 3; ++i) profile.run(*step.program, Step::batch(i), 4);
  EXPECT_EQ(profile.to_text({}).find("roof"), std::string::npos);
  EXPECT_EQ(profile.to_text({}).find("at most"), std::string::npos);
  const json object = json::parse(profile.to_json({}));
  EXPECT_TRUE(object["flops_per_second_at_most"].is_null());
  for (const json& node : object["nodes"]) EXPECT_TRUE(node["share_of_roof"].is_null());
}

TEST(Estimate, CeilingsAreThoseOfSomeMachine) {
  const double flops = measured_flops_per_second(), bytes = measured_bytes_per_second();
  EXPECT_TRUE(flops > 1e8 && flops < 1e15) << flops;
  EXPECT_TRUE(bytes > 1e8 && bytes < 1e14) << bytes;
}

}  // namespace
}  // namespace tapescope
