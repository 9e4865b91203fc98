// Which maps show what a trained net has learnt: those that change when it forgets.
#include "tools/quality/randomisation.h"

#include <gtest/gtest.h>

#include "autograd/explain/explainer.h"
#include "layers/models/zoo.h"
#include "tests/tools/temporary_folder.h"
#include "tools/synthesis/scene.h"
#include "tools/training/trainer.h"

namespace tapescope::quality {
namespace {

constexpr int kSide = 32;

// Scenes of one object each; the class is its colour.
class Scenes : public Dataset {
 public:
  Scenes(std::int64_t size, std::uint64_t seed) {
    for (std::int64_t i = 0; i < size; ++i) {
      images_.push_back(
          draw(synthesis::make_scene(synthesis::Rule::colour, static_cast<int>(i % 3), kSide, 1,
                                     seed + static_cast<std::uint64_t>(i))));
    }
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(images_.size()); }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::int64_t index) const override { return index % 3; }
  std::string name(std::int64_t index) const override { return std::to_string(index); }
  ImageView image(std::int64_t index) const override {
    return view_of(images_[static_cast<std::size_t>(index)]);
  }
  int channels() const override { return 3; }

 private:
  std::vector<Image> images_;
  std::vector<std::string> classes_ = synthesis::class_names(synthesis::Rule::colour);
};

const Pipeline kPlain({ToTensor{}, Normalize{{0.5, 0.5, 0.5}, {0.25, 0.25, 0.25}}});

// The trained net and how much of the held-out scenes it gets right.
std::unique_ptr<Classifier> trained_net(double& accuracy) {
  const auto data = std::make_shared<Scenes>(480, 1), held_out = std::make_shared<Scenes>(60, 9000);
  const ModelConfig config{"lenet", 3, 3, kSide, 0.5, 7};
  auto model = make_model(config);
  const Classification task(config, {});
  TrainerOptions options;
  options.epochs = 8;
  options.batch_size = 16;
  options.seed = 7;
  options.optimizer.name = "adamw";
  options.schedule.peak = 1e-3;
  Trainer trainer(*model, task, data, held_out, kPlain, kPlain, options);
  Progress progress;
  TrainerEvents events;
  trainer.run(progress, events);
  accuracy = evaluate(*model, task, held_out, kPlain, 16, 0)->score();
  return model;
}

TEST(Randomisation, GuidedBackpropHardlyChangesWhereTheGradientDoes) {
  double accuracy = 0;
  const std::unique_ptr<Classifier> net = trained_net(accuracy);
  EXPECT_GE(accuracy, 0.9);
  const std::vector<std::string_view> methods = {"guided-backprop", "saliency",
                                                 "excitation-backprop"};
  constexpr std::int64_t kPictures = 12;
  const Scenes scenes(kPictures, 20000);
  Tensor x({DType::f32, {kPictures, kSide, kSide, 3}});
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < kPictures; ++i) {
    Tensor row = x.rows(i, i + 1);
    kPlain.apply(scenes.image(i), {}, row.values<float>().data());
    labels.push_back(scenes.label(i));
  }
  const Tensor classes = Tensor::from<std::int64_t>({kPictures}, labels);
  const auto maps_of = [&](Classifier& model) {
    explain::Explainer explainer(
        [&](Tape& tape, Var image) {
          return model(tape, {{"image", image}}).at("logits");
        },
        {kSide, kSide, 3});
    std::vector<Map> maps;
    for (std::string_view method : methods) {
      const Tensor all = explainer.explain(method, x, classes).map;
      const bool sizes = explain::find_method(method)->is_sensitivity;
      for (std::int64_t i = 0; i < kPictures; ++i) {
        maps.push_back(at_picture_size(all.rows(i, i + 1), kSide, kSide,
                                       sizes ? Signs::dropped : Signs::kept));
      }
    }
    return maps;
  };
  const std::vector<CascadeStep> steps = cascade(
      *net, 3, maps_of(*net), [&](std::unique_ptr<Classifier> model) { return maps_of(*model); });
  const auto mean = [&](std::size_t step, std::size_t method) {
    double sum = 0;
    for (std::size_t i = 0; i < kPictures; ++i) {
      sum += steps[step].similarity[method * kPictures + i] / kPictures;
    }
    return sum;
  };
  ASSERT_EQ(steps.size(), 4u);
  EXPECT_EQ(steps[0].layer, "fc2");
  EXPECT_EQ(steps[3].layer, "conv1");
  // Once the dense layers are random, the net knows nothing. What the maps keep is not of the
  // class:
  EXPECT_GT(mean(0, 0), 0.6) << "guided backprop, the last layer random";
  EXPECT_LT(mean(0, 1), 0.4) << "the gradient";
  EXPECT_GT(mean(1, 0), 0.4) << "guided backprop, both dense layers random";
  EXPECT_LT(mean(1, 1), 0.25) << "the gradient";
  // Positive weights alone converge to one direction whatever the layers above (Sixt et al. 2020).
  EXPECT_GT(mean(1, 2), 0.95) << "excitation backprop";
  for (std::size_t step = 0; step < 3; ++step) EXPECT_GT(mean(step, 0), 2 * mean(step, 1));
}

}  // namespace
}  // namespace tapescope::quality
