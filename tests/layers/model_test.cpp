// Names, counts, shapes and costs of modules and of the zoo.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "autograd/program/program.h"
#include "autograd/reach.h"
#include "layers/layers.h"
#include "layers/losses.h"
#include "layers/models/zoo.h"

namespace tapescope {
namespace {

std::int64_t count(const std::vector<ParameterRef>& parameters) {
  std::int64_t total = 0;
  for (const ParameterRef& parameter : parameters) total += parameter->value.elements();
  return total;
}

std::int64_t trained_count(const std::string& name, ModelConfig config) {
  config.name = name;
  return count(make_model(config)->trained_parameters());
}

ParameterRef named(const Module& module, const std::string& name) {
  for (const ParameterRef& parameter : module.parameters())
    if (parameter->name == name) return parameter;
  ADD_FAILURE() << "no parameter " << name;
  return nullptr;
}

double macs(const Tape& tape, std::string_view op) {
  double total = 0;
  for (const Node* node : tape.nodes()) {
    if (node->op->name() != op) continue;
    std::vector<Type> operands;
    for (const Var& operand : node->operands()) operands.push_back(operand.type());
    total += node->op->cost(operands, node->types()).macs;
  }
  return total;
}

std::string error_of(const ModelConfig& config) {
  try {
    make_model(config);
  } catch (const Error& error) {
    EXPECT_EQ(error.blame(), Blame::usage);
    return error.what();
  }
  return "";
}

TEST(ResNet18, HasTheStateDictOfTorchvision) {
  std::ifstream file(std::filesystem::path(TAPESCOPE_SOURCE_DIR) /
                     "tests/fixtures/layers/resnet18.txt");
  ASSERT_TRUE(file);
  const auto model =
      make_model({.name = "resnet18", .classes = 1000, .channels = 3, .image_size = 224});
  const std::vector<ParameterRef> parameters = model->parameters();
  std::size_t i = 0;
  for (std::string line; std::getline(file, line); ++i) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    std::vector<std::int64_t> extents;
    for (std::int64_t extent; words >> extent;) extents.push_back(extent);
    ASSERT_LT(i, parameters.size());
    EXPECT_EQ(parameters[i]->name, name);
    EXPECT_EQ(parameters[i]->value.shape(), Shape(std::span<const std::int64_t>(extents))) << name;
    const bool counter = name.ends_with("num_batches_tracked");
    EXPECT_EQ(parameters[i]->value.dtype(), counter ? DType::i64 : DType::f32) << name;
  }
  EXPECT_EQ(i, parameters.size());
  EXPECT_EQ(model->trained_parameters().size(), 62u);
  EXPECT_EQ(count(model->trained_parameters()), 11'689'512);
}

TEST(ResNet20, CountsAsInThePaperWithConvolutionShortcuts) {
  // 270 k in He et al. table 6; the two 1x1 shortcuts with their norms add 16*32 + 32*64 + 192.
  EXPECT_EQ(trained_count("resnet20", {.classes = 10, .channels = 3, .image_size = 32}),
            269'722 + 512 + 2048 + 192);
}

TEST(SingleInputCnn, CountsAndCosts) {
  Module root;
  const Conv2d conv1(root, "conv1", 1, 10, 5), conv2(root, "conv2", 10, 20, 5);
  const Linear fc1(root, "fc1", 320, 50), fc2(root, "fc2", 50, 10);
  EXPECT_EQ(count(conv1.parameters()), 260);
  EXPECT_EQ(count(conv2.parameters()), 5020);
  EXPECT_EQ(count(fc1.parameters()), 16'050);
  EXPECT_EQ(count(fc2.parameters()), 510);

  Sequential net(root, "net");
  const auto pool = [](Var x) { return max_pool2d(x, {}); };
  const auto rectify = [](Var x) { return relu(x); };
  net.append<Conv2d>(1, 10, 5).append<Function>(pool).append<Function>(rectify);
  net.append<Conv2d>(10, 20, 5).append<Function>(pool).append<Function>(rectify);
  net.append<Function>(flatten).append<Linear>(320, 50).append<Linear>(50, 10);
  EXPECT_EQ(count(net.parameters()), 21'840);
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var y = net(tape.input("image", DType::f32, {7, 28, 28, 1}));
  EXPECT_EQ(y.shape(), (Shape{7, 10}));
  EXPECT_EQ(macs(tape, "conv2d"), 1'008'000 + 2'240'000);
  EXPECT_EQ(macs(tape, "matmul"), 112'000 + 3'500);
}

TEST(Module, NamesScopesAndReuse) {
  Module root(3);
  Sequential net(root, "trunk");
  net.append<Conv2d>(2, 2, 3, ConvOptions{.padding = 1}).append<Function>([](Var x) {
    return relu(x);
  });
  ASSERT_EQ(net.parameters().size(), 2u);
  EXPECT_EQ(net.parameters()[0]->name, "trunk.0.weight");
  EXPECT_EQ(net.parameters()[0]->kind, Parameter::Kind::weight);
  EXPECT_EQ(net.parameters()[1]->kind, Parameter::Kind::bias);

  Tape tape(Device::cpu(), Mode::evaluation);
  const Var once = net(tape.input("image", DType::f32, {1, 4, 4, 2}));
  const Var twice = net(once);
  EXPECT_EQ(once.path(), "trunk/1/relu");
  EXPECT_EQ(twice.path(), "trunk/1/relu#2");
  int leaves = 0;
  for (const Node* node : tape.nodes()) leaves += node->path() == "trunk.0.weight";
  EXPECT_EQ(leaves, 1);
}

TEST(Module, AChildCalledTwiceCountsOnce) {
  struct Twice : Layer {
    Var forward(Var x) const override { return child(child(x)); }
    Linear child{*this, "a", 2, 2};
  };
  EXPECT_EQ(Twice().parameters().size(), 2u);
}

TEST(Initialisation, DependsOnSeedAndNameOnly) {
  const auto values = [](std::uint64_t seed, const std::string& name) {
    Module root(seed);
    const Conv2d conv(root, name, 16, 32, 3);
    const auto v = std::as_const(conv.parameters()[0]->value).values<float>();
    return std::vector<float>(v.begin(), v.end());
  };
  const std::vector<float> first = values(0, "conv1");
  values(0, "something_else");
  EXPECT_EQ(values(0, "conv1"), first);
  EXPECT_NE(values(0, "conv2"), first);
  EXPECT_NE(values(1, "conv1"), first);
  double mean = 0, square = 0;
  for (float v : first) mean += v, square += v * v;
  const double n = static_cast<double>(first.size());
  mean /= n;
  const double deviation = std::sqrt(square / n - mean * mean), want = std::sqrt(2.0 / (16 * 9));
  EXPECT_NEAR(mean, 0, 4 * want / std::sqrt(n));
  EXPECT_NEAR(deviation, want, 4 * want / std::sqrt(2 * n));
}

TEST(Initialisation, HeadsStartAsInPyTorch) {
  Module root;
  const Linear head(root, "fc", 400, 50, LinearOptions{.relu_follows = false});
  double largest = 0, square = 0;
  const ParameterRef weight = head.parameters()[0];
  for (float v : weight->value.values<float>()) {
    largest = std::max(largest, std::abs(static_cast<double>(v)));
    square += v * v;
  }
  EXPECT_LE(largest, 1.0 / 20);
  EXPECT_GT(largest, 0.99 / 20);
  EXPECT_NEAR(square / 20'000, 1.0 / (3 * 400), 0.03 / (3 * 400));
}

TEST(SeedNet, ChannelsCountsAndCost) {
  const auto model =
      make_model({.name = "seednet", .classes = 10, .channels = 3, .image_size = 224});
  EXPECT_EQ(count(model->parameters()),
            1'792 + 36'928 + 73'856 + 147'584 + 1'153'000 + 9'001'000 + 10'010);
  Tape tape(Device::cpu(), Mode::training);
  const Var logits =
      (*model)({{"image", tape.input("image", DType::f32, {16, 224, 224, 3})}}).at("logits");
  EXPECT_EQ(logits.shape(), (Shape{16, 10}));
  EXPECT_EQ(tape.find("conv5/relu").shape(), (Shape{16, 224, 224, 1000}));
  EXPECT_EQ(tape.find("conv6").shape(), (Shape{16, 28, 28, 1000}));
  EXPECT_EQ(tape.find("conv7").shape(), (Shape{16, 14, 14, 10}));
  int dropouts = 0;
  for (const Node* node : tape.nodes()) dropouts += node->op->name() == "dropout";
  EXPECT_EQ(dropouts, 3);
  // Forward and both gradients: three times the multiply-adds, two operations each.
  EXPECT_NEAR(6 * macs(tape, "conv2d"), 7.5e12, 0.05e12);
}

TEST(SeedNet, WindowsAreClippedToSmallMaps) {
  struct Case {
    std::int64_t size, conv6, conv7;
  };
  for (const Case& c : {Case{64, 8, 4}, Case{32, 4, 2}, Case{8, 1, 1}}) {
    const auto model = make_model(
        {.name = "seednet", .classes = 4, .channels = 1, .image_size = c.size, .width = 0.1});
    EXPECT_EQ(named(*model, "conv1.weight")->value.shape(), (Shape{6, 3, 3, 1}));
    EXPECT_EQ(named(*model, "conv6.weight")->value.shape(), (Shape{100, 3, 3, 100}));
    EXPECT_EQ(named(*model, "conv7.weight")->value.shape(), (Shape{4, 1, 1, 100}));
    Tape tape(Device::cpu(), Mode::evaluation);
    const Var image = tape.input("image", DType::f32, {2, c.size, c.size, 1});
    EXPECT_EQ((*model)({{"image", image}}).at("logits").shape(), (Shape{2, 4}));
    EXPECT_EQ(tape.find("conv6").shape(), (Shape{2, c.conv6, c.conv6, 100}));
    EXPECT_EQ(tape.find("conv7").shape(), (Shape{2, c.conv7, c.conv7, 4}));
  }
}

TEST(SeedNet, ClassScoresAreMeansOfTheLastMap) {
  const auto model = make_model(
      {.name = "seednet", .classes = 3, .channels = 1, .image_size = 32, .width = 0.05, .seed = 4});
  Tensor image({DType::f32, {2, 32, 32, 1}});
  int k = 0;
  for (float& pixel : image.values<float>()) pixel = static_cast<float>(std::sin(0.1 * k++));
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var logits = (*model)({{"image", tape.input("image", image)}}).at("logits");
  const Tensor& map = tape.find("conv7/conv2d").value();  // {2, 2, 2, 3}
  ASSERT_EQ(map.shape(), (Shape{2, 2, 2, 3}));
  for (std::int64_t n = 0; n < 2; ++n) {
    for (std::int64_t c = 0; c < 3; ++c) {
      double mean = 0;
      for (std::int64_t p = 0; p < 4; ++p) mean += map.item((n * 4 + p) * 3 + c) / 4;
      EXPECT_NEAR(logits.value().item(n * 3 + c), mean, 1e-6);
    }
  }
}

// Every model, trained and evaluated for a step: finite, and without a row of the batch in another.
TEST(Zoo, EveryModelRecordsAndRuns) {
  for (const ModelDescription& description : model_descriptions()) {
    SCOPED_TRACE(std::string(description.name));
    const std::int64_t size = std::max<std::int64_t>(description.smallest_image, 16);
    const auto model = make_model({.name = std::string(description.name),
                                   .classes = 5,
                                   .channels = 2,
                                   .image_size = size,
                                   .width = 0.125});
    const ModelConfig& config = model->config();
    Tape tape(Device::cpu(), Mode::training);
    const Var image = tape.input("image", DType::f32, {3, size, size, config.channels});
    const Var label = tape.input("label", DType::i64, {3});
    const Var logits = (*model)({{"image", image}}).at("logits");
    const Var loss = mean(cross_entropy(logits, label));
    std::vector<Var> outputs = tape.gradient(loss, model->trained_parameters());
    outputs.push_back(loss);
    Program program = tape.compile(outputs, tape.effects());
    Tensor pixels({DType::f32, image.shape()});
    int k = 0;
    for (float& pixel : pixels.values<float>()) pixel = static_cast<float>(std::sin(0.7 * k++));
    for (const Tensor& out : program.run({{"image", pixels},
                                          {"label", Tensor::from<std::int64_t>({3}, {0, 4, 2})},
                                          {"step", Tensor::scalar_i64(0)}})) {
      for (float v : out.values<float>()) ASSERT_TRUE(std::isfinite(v));
    }

    Tape look(Device::cpu(), Mode::evaluation);
    const Var seen = look.input("image", pixels), from[] = {seen};
    const Var all = (*model)({{"image", seen}}).at("logits");
    const std::vector<bool> of_pictures = reached_from(look, from, Through::everything);
    for (const Node* node : look.nodes()) {
      EXPECT_TRUE(!of_pictures[node->index] || node->op->rows_independent()) << node->path();
      EXPECT_NE(node->op->name(), "dropout");
    }
    Tape alone(Device::cpu(), Mode::evaluation);
    const Var one = (*model)({{"image", alone.input("image", pixels.rows(1, 2))}}).at("logits");
    for (std::int64_t c = 0; c < 5; ++c) EXPECT_EQ(one.value().item(c), all.value().item(5 + c));
  }
}

TEST(Zoo, ErrorsSayWhatToDo) {
  EXPECT_NE(error_of({.name = "lenett"}).find("lenet, mlp, seednet"), std::string::npos);
  EXPECT_NE(error_of({.name = "resnet18", .image_size = 8}).find("at least 16x16"),
            std::string::npos);
  EXPECT_NE(error_of({.classes = 1}).find("2 classes"), std::string::npos);
  EXPECT_NE(error_of({.width = -1}).find("width -1"), std::string::npos);
  EXPECT_NE(error_of({.channels = 0}), "");
  EXPECT_NE(error_of({.width = std::nan("")}), "");
  EXPECT_NE(error_of({.width = 17}).find("width 17"), std::string::npos);
  EXPECT_NE(error_of({.channels = 4}).find("4 channels"), std::string::npos);
  EXPECT_NE(error_of({.classes = 100'001}).find("100001 classes"), std::string::npos);
  // Products of it would overflow.
  EXPECT_NE(error_of({.name = "mlp", .image_size = std::int64_t{1} << 40}).find("1099511627776"),
            std::string::npos);
  const auto model = make_model({});
  Tape tape(Device::cpu(), Mode::evaluation);
  EXPECT_THROW((*model)({}), Error);
  const Var grey = tape.input("image", DType::f32, {2, 28, 28, 3});
  EXPECT_THROW((*model)({{"image", grey}}), Error);
}

}  // namespace
}  // namespace tapescope
