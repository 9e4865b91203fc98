// Which maps show what a trained net has learnt: those that point at the cause of the class, and
// change when the net forgets.
#include <gtest/gtest.h>

#include "autograd/explain/explainer.h"
#include "layers/models/zoo.h"
#include "tools/quality/controls.h"
#include "tools/quality/map_metrics.h"
#include "tools/quality/randomisation.h"
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
      scenes_.push_back(synthesis::make_scene(synthesis::Rule::colour, static_cast<int>(i % 3),
                                              kSide, 1, seed + static_cast<std::uint64_t>(i)));
      images_.push_back(draw(scenes_.back()));
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
  Mask cause(std::int64_t index) const {
    const Image white =
        synthesis::mask_of(scenes_[static_cast<std::size_t>(index)].objects[0], kSide);
    Mask mask{kSide, kSide, {}};
    for (std::uint8_t v : white.pixels) mask.cause.push_back(v != 0);
    return mask;
  }

 private:
  std::vector<synthesis::Scene> scenes_;
  std::vector<Image> images_;
  std::vector<std::string> classes_ = synthesis::class_names(synthesis::Rule::colour);
};

const Pipeline kPlain({ToTensor{}, Normalize{{0.5, 0.5, 0.5}, {0.25, 0.25, 0.25}}});

struct Trained {
  std::unique_ptr<Classifier> net;
  double accuracy = 0;  // on scenes that it has not seen
};
Trained train() {
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
  const double accuracy = evaluate(*model, task, held_out, kPlain, 16, 0)->score();
  return {std::move(model), accuracy};
}

class KnownCauses : public testing::Test {
 protected:
  static constexpr std::int64_t kPictures = 12;
  static void SetUpTestSuite() { trained_ = new Trained(train()); }
  static void TearDownTestSuite() {
    delete trained_;
    trained_ = nullptr;
  }
  void SetUp() override { ASSERT_GE(trained_->accuracy, 0.9); }

  KnownCauses() {
    std::vector<std::int64_t> labels;
    for (std::int64_t i = 0; i < kPictures; ++i) {
      Tensor row = x_.rows(i, i + 1);
      kPlain.apply(scenes_.image(i), {}, row.values<float>().data());
      labels.push_back(scenes_.label(i));
    }
    classes_ = Tensor::from<std::int64_t>({kPictures}, labels);
  }
  // Of one method after the other.
  std::vector<Map> maps_of(Classifier& model, std::span<const std::string_view> methods) const {
    explain::Explainer explainer(
        [&](Tape&, Var image) {
          return model({{"image", image}}).at("logits");
        },
        {kSide, kSide, 3});
    std::vector<Map> maps;
    for (std::string_view method : methods) {
      const Tensor all = explainer.explain(method, x_, classes_).map;
      const bool sizes = explain::find_method(method)->has(explain::kSensitivity);
      for (std::int64_t i = 0; i < kPictures; ++i) {
        maps.push_back(at_picture_size(all.rows(i, i + 1), kSide, kSide,
                                       sizes ? Signs::dropped : Signs::kept));
      }
    }
    return maps;
  }

  static Trained* trained_;
  const Scenes scenes_{kPictures, 20000};
  Tensor x_{Type{DType::f32, {kPictures, kSide, kSide, 3}}};
  Tensor classes_;
};
Trained* KnownCauses::trained_ = nullptr;

TEST_F(KnownCauses, MapsFindThemAndControlsDoNot) {
  double area = 0, random = 0;
  for (std::int64_t i = 0; i < kPictures; ++i) {
    area += scenes_.cause(i).share() / kPictures;
    const std::vector<Control> blind = controls(x_.rows(i, i + 1), 5);
    ASSERT_EQ(blind[0].name, "control-random");
    random += mass_accuracy(blind[0].map, scenes_.cause(i)) / kPictures;
  }
  EXPECT_LT(area, 0.2);
  EXPECT_NEAR(random, area, 0.02);
  const struct {
    std::string_view method;
    double times;  // the area, at the least
  } cases[] = {{"lrp-epsilon-plus", 4}, {"integrated-gradients", 4}, {"grad-cam", 2}};
  for (const auto& c : cases) {
    const std::string_view method[] = {c.method};
    const std::vector<Map> maps = maps_of(*trained_->net, method);
    double mass = 0;
    for (std::int64_t i = 0; i < kPictures; ++i) {
      mass += mass_accuracy(maps[static_cast<std::size_t>(i)], scenes_.cause(i)) / kPictures;
    }
    EXPECT_GT(mass, c.times * area) << c.method;
  }
}

TEST_F(KnownCauses, GuidedBackpropHardlyChangesWhereTheGradientDoes) {
  const std::string_view methods[] = {"guided-backprop", "saliency", "excitation-backprop"};
  const std::vector<CascadeStep> steps =
      cascade(*trained_->net, 3, maps_of(*trained_->net, methods),
              [&](std::unique_ptr<Classifier> model) { return maps_of(*model, methods); });
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
