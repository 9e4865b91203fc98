// Model files against PyTorch: names, shapes, dtypes and logits of tests/fixtures/make_pytorch.py
// and make_backbones.py.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "engine/hash.h"
#include "layers/losses.h"
#include "tests/tools/temporary_folder.h"
#include "tools/training/checkpoint.h"
#include "tools/training/classifier_file.h"
#include "tools/training/safetensors.h"
#include "tools/training/weights.h"

namespace tapescope {
namespace {

struct PyTorchNet {
  ModelConfig config;
  struct Entry {
    std::string name, dtype;
    std::vector<std::int64_t> shape;
    // Of its gradient, where the script stored it: the norm, and the product with fill().
    std::optional<std::pair<double, double>> gradient;
  };
  double gain = 3;  // of weights: see values_for
  std::vector<Entry> tensors;
  std::vector<double> logits;  // {2, classes}
};

PyTorchNet read_fixture(const std::string& name) {
  PyTorchNet net;
  std::ifstream file(fixture("pytorch/" + name + ".txt"));
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "model") {
      words >> net.config.name >> net.config.classes >> net.config.channels >>
          net.config.image_size >> net.config.width;
      if (double gain = 0; words >> gain) net.gain = gain;
    } else if (kind == "tensor") {
      PyTorchNet::Entry entry;
      words >> entry.name >> entry.dtype;
      for (std::int64_t extent; words >> extent;) entry.shape.push_back(extent);
      words.clear();
      if (char bar = 0; words >> bar) {
        entry.gradient.emplace();
        words >> entry.gradient->first >> entry.gradient->second;
      }
      net.tensors.push_back(entry);
    } else if (kind == "logits") {
      for (double value; words >> value;) net.logits.push_back(value);
    }
  }
  return net;
}

// The script's fill().
std::vector<float> fill(const std::string& name, std::int64_t count) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint64_t z = (static_cast<std::uint64_t>(i) + 1) * 0x9E3779B97F4A7C15u + stable_hash(name);
    z = (z ^ (z >> 29)) * 0xBF58476D1CE4E5B9u;
    values.push_back(static_cast<float>(static_cast<double>(z >> 40) / 8388608.0 - 1));
  }
  return values;
}

// The scripts' values_for().
Tensor values_for(const PyTorchNet::Entry& entry, double gain) {
  const auto has = [&](const char* part) { return entry.name.find(part) != std::string::npos; };
  const Shape shape{std::span<const std::int64_t>(entry.shape)};
  if (has("num_batches_tracked")) return Tensor::scalar_i64(7);
  std::vector<float> v = fill(entry.name, shape.elements());
  float scale = 0.1f, offset = 0;
  if (has("running_var")) {
    scale = 0.5f;
    offset = 1;
  } else if (shape.rank() > 1) {
    scale = static_cast<float>(
        std::sqrt(gain / (static_cast<double>(shape.elements()) / static_cast<double>(shape[0]))));
  } else if (entry.name.ends_with("weight")) {  // of a norm
    offset = 1;
  }
  for (float& x : v) x = x * scale + offset;
  return Tensor::from<float>(shape, std::span<const float>(v));
}

class PyTorch : public ::testing::TestWithParam<const char*> {};

TEST_P(PyTorch, StateDictHasItsNamesShapesAndTypes) {
  const PyTorchNet net = read_fixture(GetParam());
  ASSERT_FALSE(net.tensors.empty());
  const TemporaryFolder folder;
  const auto model = make_model(net.config);
  Checkpoints(folder.path(), metadata_of({net.config, {}, Pipeline()}), 0).save_initial(*model);
  const Safetensors file = read_safetensors(folder / "checkpoints/initial.safetensors");
  EXPECT_EQ(file.tensors.size(), net.tensors.size());
  for (const PyTorchNet::Entry& entry : net.tensors) {
    const Tensor* const stored = file.find(entry.name);
    ASSERT_NE(stored, nullptr) << entry.name;
    EXPECT_EQ(stored->shape(), Shape{std::span<const std::int64_t>(entry.shape)}) << entry.name;
    EXPECT_EQ(name_of(stored->dtype()), entry.dtype == "int64" ? "i64" : "f32") << entry.name;
  }
}

std::unique_ptr<Classifier> with_its_weights(const PyTorchNet& net) {
  const TemporaryFolder folder;
  std::vector<StoredTensor> tensors;
  for (const auto& entry : net.tensors)
    tensors.push_back({entry.name, values_for(entry, net.gain)});
  write_safetensors(folder / "theirs.safetensors", tensors);
  auto model = make_model(net.config);
  // It tells how many were taken, and nothing else: no notice of one that did not fit.
  EXPECT_EQ(load_weights(*model, folder / "theirs.safetensors").size(), 1u);
  return model;
}

Tensor image_of(const PyTorchNet& net) {
  const std::int64_t size = net.config.image_size;
  const Shape shape{2, size, size, net.config.channels};
  const std::vector<float> pixels = fill("image", shape.elements());
  return Tensor::from<float>(shape, std::span<const float>(pixels));
}

TEST_P(PyTorch, ItsWeightsGiveItsLogits) {
  const PyTorchNet net = read_fixture(GetParam());
  const auto model = with_its_weights(net);
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var image = tape.input("image", image_of(net));
  const Tensor logits = (*model)({{"image", image}}).at("logits").value();
  ASSERT_EQ(logits.elements(), static_cast<std::int64_t>(net.logits.size()));
  double largest = 0;
  for (double value : net.logits) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < net.logits.size(); ++i) {
    EXPECT_NEAR(logits.item(static_cast<std::int64_t>(i)), net.logits[i], 1e-5 * largest) << i;
  }
}

// Every parameter's, of the cross entropy of classes 0 and 3, with the stored batch statistics.
TEST_P(PyTorch, ItsWeightsGiveItsGradients) {
  const PyTorchNet net = read_fixture(GetParam());
  std::map<std::string, std::pair<double, double>> wanted;
  for (const PyTorchNet::Entry& entry : net.tensors) {
    if (entry.gradient) wanted[entry.name] = *entry.gradient;
  }
  if (wanted.empty()) GTEST_SKIP() << "the fixture has logits only";
  const auto model = with_its_weights(net);
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var image = tape.input("image", image_of(net));
  const Var label = tape.input("label", Tensor::from<std::int64_t>({2}, {0, 3}));
  const Var loss = mean(cross_entropy((*model)({{"image", image}}).at("logits"), label));
  const std::vector<ParameterRef> trained = model->trained_parameters();
  ASSERT_EQ(trained.size(), wanted.size());
  const std::vector<Var> gradients = tape.gradient(loss, trained);
  // A unit that lies on a kink to rounding may fall on its other side, and what is before it feels
  // that: a few parameters may, none by much. Elsewhere they agree to 2e-5 of the norm.
  std::size_t far = 0;
  for (std::size_t k = 0; k < trained.size(); ++k) {
    const auto [norm, product] = wanted.at(trained[k]->name);
    const Tensor gradient = moved_axes(gradients[k].value(), true);
    const std::vector<float> direction = fill("direction/" + trained[k]->name, gradient.elements());
    double square = 0, along = 0;
    for (std::int64_t i = 0; i < gradient.elements(); ++i) {
      square += gradient.item(i) * gradient.item(i);
      along += gradient.item(i) * static_cast<double>(direction[static_cast<std::size_t>(i)]);
    }
    const double error = std::max(std::abs(std::sqrt(square) - norm), std::abs(along - product));
    EXPECT_LE(error, 0.05 * norm + 1e-9) << trained[k]->name;
    far += error > 1e-4 * norm + 1e-9;
  }
  EXPECT_LE(far, trained.size() / 5);
}

INSTANTIATE_TEST_SUITE_P(Zoo, PyTorch,
                         ::testing::Values("lenet", "seednet", "resnet18", "resnet20", "resnet34",
                                           "resnet50", "vgg16_bn", "densenet121", "mobilenet_v2",
                                           "mobilenet_v3_large", "mobilenet_v3_small",
                                           "efficientnet_b0", "efficientnet_lite0",
                                           "tf_efficientnet_lite0", "convnext_tiny"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace tapescope
