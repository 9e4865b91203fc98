// A net of the zoo in place of a detector's own first layers.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "autograd/program/program.h"
#include "layers/models/zoo.h"
#include "tests/says.h"
#include "tests/tools/temporary_folder.h"
#include "tools/detection/detector_file.h"
#include "tools/training/classifier_file.h"

namespace tapescope::detection {
namespace {

DetectorConfig on(const std::string& backbone) {
  DetectorConfig config{{"cell", "dot"}, 32, 48, 0.25, 1};
  config.backbone = backbone;
  config.form = form_of_backbone(backbone);
  return config;
}

std::vector<Tensor> answers(const BoxNet& net, const Tensor& image) {
  Tape tape(Device::cpu(), Mode::evaluation);
  const NamedVars outputs = net({{"image", tape.input("image", image)}});
  return {outputs.at("heat").value(), outputs.at("ltrb").value()};
}

Tensor picture() {
  Tensor image(Type{DType::f32, {1, 32, 48, 3}});
  PhiloxStream random(3);
  for (float& v : image.values<float>()) v = static_cast<float>(random.normal());
  return image;
}

TEST(BackboneDetector, HasThePartOfTheNetBeforeStride32) {
  const CentreDetector net(on("resnet18"));
  std::set<std::string> names;
  for (const ParameterRef& parameter : net.parameters()) names.insert(parameter->name);
  EXPECT_TRUE(names.contains("conv1.weight") && names.contains("layer3.1.bn2.running_var"));
  EXPECT_TRUE(names.contains("lateral16.weight") && names.contains("heat.3.weight"));
  for (const std::string& name : names) {
    EXPECT_FALSE(name.starts_with("layer4") || name.starts_with("fc") || name.starts_with("level"));
  }
  const std::vector<Tensor> answer = answers(net, picture());
  EXPECT_EQ(answer[0].shape(), (Shape{1, 8, 12, 2}));
  EXPECT_EQ(answer[1].shape(), (Shape{1, 8, 12, 4}));
  Tape tape(Device::cpu(), Mode::evaluation);
  net({{"image", tape.input("image", picture())}});
  for (const Node* node : tape.nodes()) {
    EXPECT_EQ(node->path().find("layer4"), std::string::npos) << node->path();
  }
}

// What a classifier of that name learnt is read under its names.
TEST(BackboneDetector, BeginsWithAClassifiersWeights) {
  ModelConfig model{.name = "tf_efficientnet_lite0", .classes = 3, .channels = 3, .width = 0.25};
  model.image_size = 32;
  model.seed = 9;
  const auto classifier = make_model(model);
  const TemporaryFolder folder;
  ModelInfo info;
  info.config = model;
  info.classes = {"a", "b", "c"};
  Checkpoints(folder.path(), metadata_of(info), 0).save_initial(*classifier);
  CentreDetector net(on("tf_efficientnet_lite0"));
  load_weights(net, folder / "checkpoints/initial.safetensors");
  int same = 0;
  for (const ParameterRef& theirs : classifier->parameters()) {
    for (const ParameterRef& ours : net.parameters()) {
      if (ours->name != theirs->name) continue;
      ++same;
      for (std::int64_t i = 0; i < ours->value.elements(); ++i) {
        ASSERT_EQ(ours->value.item(i), theirs->value.item(i)) << ours->name;
      }
    }
  }
  EXPECT_GT(same, 100);
}

TEST(BackboneDetector, ItsRunIsReadAgain) {
  const TemporaryFolder folder;
  const CentreDetector net(on("mobilenet_v2"));
  Checkpoints(folder.path(), metadata_of(net.config()), 0).save_initial(net);
  const LoadedDetector again = load_detector(folder.path(), "initial");
  EXPECT_EQ(again.model->config().backbone, "mobilenet_v2");
  EXPECT_EQ(again.model->config().form.std, form_of_backbone("mobilenet_v2").std);
  const std::vector<Tensor> a = answers(net, picture()), b = answers(*again.model, picture());
  for (std::size_t o = 0; o < a.size(); ++o) {
    for (std::int64_t i = 0; i < a[o].elements(); ++i) ASSERT_EQ(a[o].item(i), b[o].item(i));
  }
}

TEST(BackboneDetector, NetsWithoutTheStridesAreRefused) {
  const auto message = [](const std::string& name) -> std::string {
    try {
      CentreDetector net(on(name));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_SAYS(message("resnet20"), "no maps of stride 8");
  EXPECT_SAYS(message("no-such-net"), "no-such-net");
}

}  // namespace
}  // namespace tapescope::detection
