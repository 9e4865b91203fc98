// Learning with frozen parts: probes on features that are kept, unfreezing, rates by parameter.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/philox.h"
#include "layers/models/zoo.h"
#include "tests/says.h"
#include "tests/tools/drawn_pictures.h"
#include "tests/tools/temporary_folder.h"
#include "tools/training/checkpoint.h"
#include "tools/training/classifier_file.h"
#include "tools/training/config.h"
#include "tools/training/features.h"
#include "tools/training/preprocessing.h"
#include "tools/training/trainer.h"

namespace tapescope {
namespace {

constexpr int kSide = 16;
const ModelConfig kResnet{"resnet20", 2, 1, kSide, 0.25, 7};

struct Asked {
  std::string optimizer = "sgd", only = "head", factors = "";
  bool keep = true, augmented = false, validated = true;
  std::int64_t epochs = 3, unfreeze_after = 0, statistics = 2;
  int threads = 0;
  std::vector<std::int64_t> stops = {};  // after so many steps, everything is built anew
  bool spoiled = false;                  // and all moments are 1 then
};
struct Probed {
  std::map<std::string, std::vector<std::uint8_t>> values, initial;  // by parameter
  std::vector<std::uint8_t> last, state;
  std::vector<std::string> notes, moments;
  std::vector<double> losses;
};

std::vector<std::uint8_t> bytes_of(const Tensor& tensor) {
  const auto* data = static_cast<const std::uint8_t*>(tensor.data());
  return {data, data + tensor.bytes()};
}

// 17 pictures in batches of 4: 5 steps an epoch.
Probed probe(const Asked& asked) {
  const TemporaryFolder folder;
  const auto data = std::make_shared<Halves>(17, kSide),
             held_out = std::make_shared<Halves>(6, kSide);
  const Pipeline plain({ToTensor{}}), flips({RandomHorizontalFlip{}, ToTensor{}});
  Probed result;
  std::vector<std::string> notices;
  std::int64_t last_step = 0;
  for (std::size_t part = 0; part <= asked.stops.size(); ++part) {
    const auto model = make_model(kResnet);
    const Classification task(kResnet, {});
    TrainerOptions options;
    options.epochs = asked.epochs;
    options.batch_size = 4;
    options.seed = 7;
    options.loader_threads = asked.threads;
    options.log_every = 1;
    options.statistics_every = asked.statistics;
    options.optimizer.name = asked.optimizer;
    options.optimizer.weight_decay = 0.1;
    options.schedule.peak = 0.02;
    options.keep_features = asked.keep;
    options.unfreeze_after = asked.unfreeze_after;
    options.unfrozen = train_only(*model, asked.only, head_of(*model));
    options.optimizer.rate_factors = rate_factors(*model, asked.factors, head_of(*model));
    for (const ParameterRef& p : model->parameters()) result.initial[p->name] = bytes_of(p->value);
    Trainer trainer(*model, task, data, asked.validated ? held_out : nullptr,
                    asked.augmented ? flips : plain, plain, options);
    const Checkpoints checkpoints(folder.path(), metadata_of({kResnet, data->classes(), plain}), 0);
    Progress progress;
    if (part > 0) progress = checkpoints.resume(*model, trainer.optimizer(), notices);
    for (const ParameterRef& state : trainer.optimizer().states()) {
      if (part > 0 && asked.spoiled) {
        state->value.copy_from(Tensor::full(state->value.type(), 1));
        state->changed();
      }
    }
    TrainerEvents events;
    events.note = [&](const std::string& note) { result.notes.push_back(note); };
    events.step = [&](const StepRecord& step) { result.losses.push_back(step.loss); };
    events.save = [&](const Progress& p, bool best, bool epoch_end) {
      checkpoints.save(*model, trainer.optimizer(), p, best, epoch_end);
    };
    std::int64_t steps = 0;
    if (part < asked.stops.size()) events.stop = [&, part] { return ++steps >= asked.stops[part]; };
    EXPECT_EQ(trainer.run(progress, events), part == asked.stops.size());
    for (const ParameterRef& p : model->parameters()) result.values[p->name] = bytes_of(p->value);
    result.moments.clear();
    for (const ParameterRef& state : trainer.optimizer().states()) {
      result.moments.push_back(state->name);
    }
    last_step = progress.step;
  }
  result.last = get(folder / "checkpoints/last.safetensors");
  result.state = get(folder / fmt::format("checkpoints/state-{}.safetensors", last_step));
  return result;
}

std::vector<std::string> changed(const Probed& run) {
  std::vector<std::string> names;
  for (const auto& [name, value] : run.values) {
    if (value != run.initial.at(name)) names.push_back(name);
  }
  return names;
}

using Strings = std::vector<std::string>;

TEST(Probe, WhatIsFrozenKeepsEveryByteAndHasNoMoments) {
  for (const char* optimizer : {"sgd", "adamw"}) {
    const Probed run = probe({.optimizer = optimizer});
    // Weights despite the decay, and the statistics and counters of batch norms.
    EXPECT_EQ(changed(run), (Strings{"fc.bias", "fc.weight"})) << optimizer;
    for (const std::string& moment : run.moments) EXPECT_TRUE(moment.starts_with("fc.")) << moment;
    const auto epoch = [&](int which) {  // the sum of its steps' losses
      return std::accumulate(run.losses.begin() + 5 * which, run.losses.begin() + 5 * which + 5,
                             0.0);
    };
    EXPECT_LT(epoch(2), epoch(0)) << optimizer;
  }
  const Probed run = probe({.only = "layer3.2.*,head"});
  for (const std::string& name : changed(run)) {
    EXPECT_TRUE(name.starts_with("layer3.2.") || name.starts_with("fc.")) << name;
  }
  EXPECT_NE(run.values.at("layer3.2.bn1.running_mean"),
            run.initial.at("layer3.2.bn1.running_mean"));
}

TEST(Probe, KeptFeaturesChangeNoBit) {
  for (const char* only : {"head", "layer3.2.*,head"}) {
    for (const bool validated : {true, false}) {
      const Probed kept = probe({.only = only, .validated = validated});
      const Probed anew = probe({.only = only, .keep = false, .validated = validated});
      EXPECT_EQ(kept.losses, anew.losses);
      EXPECT_TRUE(kept.last == anew.last && kept.state == anew.state) << only;
      ASSERT_EQ(kept.notes.size(), 1u);
      EXPECT_SAYS(kept.notes[0], "are computed once");
      EXPECT_TRUE(anew.notes.empty());
    }
  }
  EXPECT_TRUE(probe({.threads = 2}).last == probe({}).last);
}

TEST(Probe, AugmentedPicturesAreSeenAnew) {
  const Probed run = probe({.augmented = true});
  ASSERT_EQ(run.notes.size(), 1u);
  EXPECT_SAYS(run.notes[0], "computed anew");
  EXPECT_EQ(changed(run), (Strings{"fc.bias", "fc.weight"}));
}

TEST(Probe, ResumesBitForBit) {
  const Probed whole = probe({});
  for (const std::vector<std::int64_t>& stops :
       {std::vector<std::int64_t>{7}, {5}, {3, 1, 4}, {15}}) {
    const Probed parts = probe({.stops = stops});
    EXPECT_TRUE(parts.last == whole.last && parts.state == whole.state);
  }
}

TEST(Unfreezing, ChangesTheBodyFromThatEpochOnOnly) {
  // Stopped at the end of the first epoch, and one step later.
  const Probed before = probe({.unfreeze_after = 1, .stops = {5}});
  EXPECT_GT(changed(before).size(), 60u);
  const Probed head = probe({.epochs = 3, .unfreeze_after = 2});
  ASSERT_GE(head.notes.size(), 2u);
  EXPECT_SAYS(head.notes[0], "are computed once");
  EXPECT_SAYS(head.notes[1], "unfrozen: ");
  EXPECT_SAYS(head.notes[1], "lr 0.002");
  // The first epochs are the probe's. Its schedule ends with them, so it is as long.
  const Probed probe_alone = probe({.epochs = 2});
  for (std::size_t step = 0; step < 10; ++step) {
    EXPECT_EQ(head.losses[step], probe_alone.losses[step]) << step;
  }
  EXPECT_NE(head.losses[11], probe_alone.losses[9]);
}

// Whatever the moments were when it began.
TEST(Unfreezing, BeginsWithNoMoments) {
  const Asked asked{.epochs = 2, .unfreeze_after = 1};
  Asked spoiled = asked;
  spoiled.stops = {5};
  spoiled.spoiled = true;
  const Probed a = probe(asked), b = probe(spoiled);
  EXPECT_TRUE(a.last == b.last && a.state == b.state);
}

TEST(Unfreezing, ResumesBitForBitInEachPartAndBetweenThem) {
  for (const char* optimizer : {"sgd", "adamw"}) {
    const Asked asked{.optimizer = optimizer, .unfreeze_after = 1};
    const Probed whole = probe(asked);
    for (const std::vector<std::int64_t>& stops :
         {std::vector<std::int64_t>{3}, {5}, {6}, {8, 4}, {2, 2, 2, 2}}) {
      Asked again = asked;
      again.stops = stops;
      const Probed parts = probe(again);
      EXPECT_TRUE(parts.last == whole.last && parts.state == whole.state) << optimizer;
    }
  }
}

TEST(RateFactors, ScaleTheStepOfTheirParameters) {
  // Of one step of SGD, without decay of what is a bias, the change is proportional to the rate.
  const auto step = [](const std::string& factors) {
    Asked asked{.only = "*", .factors = factors, .epochs = 1, .stops = {1}};
    const TemporaryFolder folder;
    const auto model = make_model(kResnet);
    const Classification task(kResnet, {});
    TrainerOptions options;
    options.epochs = 1;
    options.batch_size = 17;
    options.loader_threads = 0;
    options.optimizer.rate_factors = rate_factors(*model, factors, head_of(*model));
    options.schedule = {.name = "constant", .peak = 0.01};
    std::map<std::string, std::vector<float>> values;
    for (const ParameterRef& p : model->trained_parameters()) {
      for (const float v : p->value.values<float>()) values[p->name].push_back(v);
    }
    Trainer trainer(*model, task, std::make_shared<Halves>(17, kSide), nullptr, Pipeline(),
                    Pipeline(), options);
    Progress progress;
    trainer.run(progress, {});
    for (const ParameterRef& p : model->trained_parameters()) {
      for (std::size_t i = 0; i < values[p->name].size(); ++i) {
        values[p->name][i] -= p->value.values<float>()[i];
      }
    }
    return values;
  };
  const auto whole = step(""), scaled = step("layer1.*=0.25,layer1.0.bn1.*=4,head=0.5");
  for (const auto& [name, changes] : whole) {
    const double factor = name.starts_with("layer1.0.bn1") ? 4
                          : name.starts_with("layer1.")    ? 0.25
                          : name.starts_with("fc.")        ? 0.5
                                                           : 1;
    for (std::size_t i = 0; i < changes.size(); ++i) {
      EXPECT_NEAR(scaled.at(name)[i], factor * changes[i], 1e-6 + 1e-3 * std::abs(changes[i]))
          << name;
    }
  }
}

TEST(RateFactors, AndGlobsThatMeanNothingAreRefused) {
  const auto model = make_model(kResnet);
  for (const char* bad :
       {"fc.*", "fc.*=", "fc.*=x", "fc.*=0", "fc.*=-1", "fc.*=1e9", "=2", "", "fc.*=1,"}) {
    if (*bad == '\0') {
      EXPECT_TRUE(rate_factors(*model, bad, {}).empty());
      continue;
    }
    EXPECT_SAYS(usage_message([&] { rate_factors(*model, bad, {}); }), "--lr-factors");
  }
  EXPECT_SAYS(usage_message([&] { rate_factors(*model, "layer9.*=2", {}); }), "layer9");
  EXPECT_SAYS(usage_message([&] { train_only(*model, "head,layer9.*", head_of(*model)); }),
              "conv1.weight");
}

// Whatever is random in a net that trains: what is frozen is as it is in an evaluation.
TEST(Probe, OfEveryNetOfTheZooLearnsFromFeatures) {
  for (const ModelDescription& net : model_descriptions()) {
    const auto side = static_cast<int>(std::max<std::int64_t>(32, net.smallest_image));
    const ModelConfig config{std::string(net.name), 2, 1, side, 0.25, 7};
    const auto model = make_model(config);
    TrainerOptions options;
    options.epochs = 1;
    options.batch_size = 4;
    options.loader_threads = 0;
    options.schedule = {.name = "constant", .peak = 0.01};
    options.unfrozen = train_only(*model, "head", head_of(*model));
    const Classification task(config, {});
    const Pipeline pipeline({Resize{.height = side, .width = side}, ToTensor{}});
    const auto data = std::make_shared<Halves>(4, kSide);
    std::string told;
    try {
      Trainer trainer(*model, task, data, data, pipeline, pipeline, options);
      Progress progress;
      TrainerEvents events;
      events.note = [&](const std::string& note) { told += note + "\n"; };
      trainer.run(progress, events);
    } catch (const Error& error) {
      ADD_FAILURE() << net.name << ": " << error.what();
    }
    EXPECT_SAYS(told, "are computed once");
  }
}

TEST(Head, IsWhatGivesTheOutputs) {
  for (const auto& [name, head] : std::map<std::string, std::string>{{"lenet", "fc2.*"},
                                                                     {"mlp", "fc3.*"},
                                                                     {"seednet", "conv7.*"},
                                                                     {"resnet18", "fc.*"},
                                                                     {"resnet20", "fc.*"}}) {
    EXPECT_EQ(head_of(*make_model({name, 3, 1, 32, 0.1})), Strings{head}) << name;
  }
}

// --- preprocessing -------------------------------------------------------------------------------

TEST(Preprocessing, IsScaledInProportion) {
  const Pipeline imagenet = preprocessing_from("imagenet");
  EXPECT_EQ(side_of(imagenet), 224);
  const Pipeline small = rescaled(imagenet, 112);
  EXPECT_EQ(small, Pipeline({Resize{.short_side = 128}, CenterCrop{112, 112}, ToTensor{},
                             Normalize{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}}}));
  EXPECT_EQ(preprocessing_from(small.to_json()), small);
  EXPECT_SAYS(usage_message([] { preprocessing_from("cifar"); }), "imagenet");
  EXPECT_SAYS(usage_message([] { preprocessing_from("[{\"type\":\"ToTensor\"}]"); }), "squares");
  EXPECT_SAYS(
      usage_message([] {
        preprocessing_from(R"([{"type":"RandomResizedCrop","size":[8,8]},{"type":"ToTensor"}])");
      }),
      "--augment");
}

}  // namespace
}  // namespace tapescope
