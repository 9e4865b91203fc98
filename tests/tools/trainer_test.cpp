// Training and its checkpoints as a library: resuming, threads, guards, weights from elsewhere.
#include "tools/training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/thread_pool.h"
#include "tests/tools/small_training.h"
#include "tools/training/safetensors.h"

namespace tapescope {
namespace {

// Classification that also tells its loss and its labels.
class Telling final : public Task {
 public:
  explicit Telling(const ModelConfig& config) : inner_(config, {}) {}
  std::string_view score_name() const override { return inner_.score_name(); }
  NamedVars inputs(Tape& tape, std::int64_t n) const override { return inner_.inputs(tape, n); }
  Loss loss(const NamedVars& inputs, const NamedVars& outputs) const override {
    Loss loss = inner_.loss(inputs, outputs);
    loss.terms = {{"loss", loss.samples}, {"twice", affine(loss.samples, 2)}};
    return loss;
  }
  Var predictions(const NamedVars& outputs) const override { return inner_.predictions(outputs); }
  std::unique_ptr<Metrics> metrics() const override { return inner_.metrics(); }

 private:
  Classification inner_;
};

TEST(Trainer, TellsTheTasksTermsAndTheirMeansOverAnEpochThatWasResumed) {
  const auto data = std::make_shared<Halves>(17);
  const ModelConfig config{"lenet", 2, 1, kSide, 0.25, 7};
  const Pipeline plain({ToTensor{}});
  const auto epochs = [&](bool telling, std::int64_t stop_after, std::vector<std::uint8_t>& best) {
    const TemporaryFolder folder;
    std::vector<EpochRecord> records;
    std::vector<std::string> notices;
    for (int part = 0; part < (stop_after > 0 ? 2 : 1); ++part) {
      const auto model = make_model(config);
      const Telling told(config);
      const Classification silent(config, {});
      TrainerOptions options;
      options.epochs = 2;
      options.batch_size = 4;
      options.log_every = 1;
      const Task& task = telling ? static_cast<const Task&>(told) : silent;
      Trainer trainer(*model, task, data, nullptr, plain, plain, options);
      const Checkpoints checkpoints(folder.path(), metadata_of({config, data->classes(), plain}),
                                    0);
      Progress progress;
      if (part > 0) progress = checkpoints.resume(*model, trainer.optimizer(), notices);
      TrainerEvents events;
      events.epoch = [&](const EpochRecord& record) { records.push_back(record); };
      events.save = [&](const Progress& p, bool is_best, bool epoch_end) {
        checkpoints.save(*model, trainer.optimizer(), p, is_best, epoch_end);
      };
      events.step = [&](const StepRecord& step) {
        ASSERT_EQ(step.terms.size(), telling ? 2u : 0u);
        if (telling) {
          EXPECT_EQ(step.terms[0].value, step.loss);
        }
      };
      std::int64_t steps = 0;
      if (stop_after > 0 && part == 0) events.stop = [&] { return ++steps >= stop_after; };
      trainer.run(progress, events);
    }
    best = get(folder / "checkpoints/best.safetensors");
    return records;
  };
  std::vector<std::uint8_t> quiet_bits, bits, resumed_bits;
  epochs(false, 0, quiet_bits);
  const std::vector<EpochRecord> whole = epochs(true, 0, bits);
  const std::vector<EpochRecord> resumed = epochs(true, 7, resumed_bits);
  EXPECT_TRUE(bits == quiet_bits) << "telling changes no bit of the model";
  EXPECT_TRUE(bits == resumed_bits);
  ASSERT_EQ(whole.size(), 2u);
  ASSERT_EQ(resumed.size(), 2u);
  for (std::size_t e = 0; e < 2; ++e) {
    ASSERT_EQ(whole[e].terms.size(), 2u);
    EXPECT_EQ(whole[e].terms[0].value, whole[e].train_loss);
    EXPECT_NEAR(whole[e].terms[1].value, 2 * whole[e].train_loss, 1e-6);
    EXPECT_EQ(resumed[e].terms.at(0).value, whole[e].terms[0].value);
  }
}

TEST(Trainer, TwoRunsWithOneSeedWriteEqualFiles) { expect_equal(train({}), train({})); }

TEST(Trainer, ResumesInTheMiddleOfAnEpochBitForBit) {
  const Trained whole = train({});
  EXPECT_EQ(whole.step, 15);
  expect_equal(whole, train({}, {7}));           // in the middle of the second epoch
  expect_equal(whole, train({}, {3, 1, 4, 2}));  // again and again
}

TEST(Trainer, ResumesAtTheEndsOfAnEpochBitForBit) {
  const Trained whole = train({});
  expect_equal(whole, train({}, {5}));   // all steps of an epoch, validation still to come
  expect_equal(whole, train({}, {15}));  // all steps there are
}

TEST(BestEpoch, IsTheLastOneUntilThereAreEnoughForAMean) {
  BestEpoch best;
  const double scores[] = {1, 0.5, 0.25, 0.75, 0.75, 0.5};
  const std::int64_t want[] = {1, 2, 3, 3, 5, 6};  // means of three: 0.58, 0.5, 0.58, 0.67
  for (int i = 0; i < 6; ++i) {
    best.judge(i + 1, scores[i], 200);
    EXPECT_EQ(best.epoch, want[i]);
  }
  EXPECT_EQ(best.score, 0.5);
  EXPECT_EQ(BestEpoch::epochs_of_a_mean(500), 1);
  EXPECT_EQ(BestEpoch::epochs_of_a_mean(499), 2);
  EXPECT_EQ(BestEpoch::epochs_of_a_mean(6), 84);
  BestEpoch many;
  EXPECT_TRUE(many.judge(1, 0.5, 1000));
  EXPECT_TRUE(many.judge(2, 0.5, 1000));  // of equal ones the last
  EXPECT_FALSE(many.judge(3, 0.4, 1000));
}

// Of few images the highest score is a lucky one: epochs are compared by means of several.
TEST(Trainer, BestIsTheBestMeanOfSeveralEpochsAlsoWhenResumed) {
  const auto data = std::make_shared<Halves>(17), held_out = std::make_shared<Halves>(170);
  constexpr std::size_t kMean = 3;  // epochs that 170 images judge together 500 times
  const ModelConfig config{"lenet", 2, 1, kSide, 0.25, 7};
  const Pipeline plain({ToTensor{}});
  const Classification task(config, {});
  bool mattered = false;
  const auto best_epoch = [&](std::int64_t stop_after) {
    const TemporaryFolder folder;
    std::vector<EpochRecord> epochs;
    std::vector<std::string> notices;
    Progress progress;
    for (const bool resumed : {false, true}) {
      const auto model = make_model(config);
      TrainerOptions options;
      options.epochs = 8;
      options.batch_size = 4;
      options.seed = 7;
      options.loader_threads = 0;
      options.schedule.peak = 0.02;
      Trainer trainer(*model, task, data, held_out, plain, plain, options);
      const Checkpoints checkpoints(folder.path(), metadata_of({config, data->classes(), plain}),
                                    0);
      if (resumed) progress = checkpoints.resume(*model, trainer.optimizer(), notices);
      TrainerEvents events;
      events.epoch = [&](const EpochRecord& e) { epochs.push_back(e); };
      events.save = [&](const Progress& p, bool best, bool epoch_end) {
        checkpoints.save(*model, trainer.optimizer(), p, best, epoch_end);
      };
      std::int64_t steps = 0;
      if (!resumed) events.stop = [&] { return ++steps >= stop_after; };
      if (trainer.run(progress, events)) break;
    }
    // Looked for over again.
    std::vector<double> means;
    for (std::size_t i = 0; i + kMean <= epochs.size(); ++i) {
      double sum = 0;
      for (std::size_t k = 0; k < kMean; ++k) sum += epochs[i + k].validation_score;
      means.push_back(sum / kMean);
    }
    const auto highest = std::max_element(means.rbegin(), means.rend());  // the last of equal ones
    const EpochRecord& best =
        epochs[kMean - 1 + static_cast<std::size_t>(means.rend() - highest - 1)];
    EXPECT_EQ(progress.best.epoch, best.epoch);
    EXPECT_EQ(progress.best.score, best.validation_score);
    EXPECT_NEAR(progress.best.mean, *highest, 1e-12);
    for (const EpochRecord& e : epochs) {
      mattered |= e.epoch < best.epoch && e.validation_score >= best.validation_score;
    }
    return progress.best.epoch;
  };
  const std::int64_t whole = best_epoch(1000);
  EXPECT_TRUE(mattered) << "no epoch before had as high a score: nothing was tried";
  EXPECT_EQ(best_epoch(23), whole);  // in the middle of the fifth epoch
}

TEST(Trainer, ResumesMomentsAndRunningStatisticsBitForBit) {
  const Prepared prepared{.model = "resnet20", .optimizer = "adamw", .rate = 1e-3};
  expect_equal(train(prepared), train(prepared, {8}));
}

TEST(Trainer, ThreadsChangeNoBit) {
  const Prepared prepared{.model = "resnet20"};
  const int before = thread_count();
  set_thread_count(1);
  const Trained one = train(prepared);
  set_thread_count(3);
  const Trained three = train(prepared);
  set_thread_count(before);
  expect_equal(one, three);
  expect_equal(one, train({.model = "resnet20", .loader_threads = 3}));
}

TEST(Trainer, Bf16FollowsF32) {
  // Batch norms of four pictures make of a rounding another way after a few steps.
  for (const auto& [model, steps] : {std::pair("lenet", 15), std::pair("resnet20", 4)}) {
    const Trained f32 = train({.model = model});
    const Trained bf16 = train({.model = model, .precision = DType::bf16});
    ASSERT_EQ(bf16.losses.size(), f32.losses.size());
    for (std::size_t i = 0; i < static_cast<std::size_t>(steps); ++i) {
      EXPECT_NEAR(bf16.losses[i], f32.losses[i], 0.05) << model << ", step " << i + 1;
    }
    EXPECT_NE(bf16.losses, f32.losses);
  }
}

TEST(Trainer, Bf16ResumesAndThreadsChangeNoBit) {
  const Prepared prepared{.model = "resnet20", .precision = DType::bf16};
  const int before = thread_count();
  set_thread_count(1);
  const Trained one = train(prepared);
  set_thread_count(3);
  expect_equal(one, train(prepared, {7}));
  set_thread_count(before);
}

TEST(Trainer, Bf16OnTheEmulatedDeviceFollowsTheCpu) {
  const Trained cpu = train({.precision = DType::bf16});
  const Trained emulated = train({.device = Device::emulated(), .precision = DType::bf16});
  ASSERT_EQ(emulated.losses.size(), cpu.losses.size());
  for (std::size_t i = 0; i < cpu.losses.size(); ++i) {
    EXPECT_NEAR(emulated.losses[i], cpu.losses[i], 0.01) << "step " << i + 1;
  }
}

// Its own kernels round to 10 bits, three more than bf16's; what is kept is f32.
TEST(Trainer, Tf32OnTheEmulatedDeviceFollowsTheCpu) {
  for (const auto& [model, steps] : {std::pair("lenet", 15), std::pair("resnet20", 3)}) {
    const Trained cpu = train({.model = model});
    const Trained f32 = train({.model = model, .device = Device::emulated()});
    const Prepared prepared{.model = model, .device = Device::emulated(), .precision = kTf32};
    const Trained tf32 = train(prepared);
    ASSERT_EQ(tf32.losses.size(), cpu.losses.size());
    for (std::size_t i = 0; i < static_cast<std::size_t>(steps); ++i) {
      EXPECT_NEAR(tf32.losses[i], cpu.losses[i], 0.05 / 8) << model << ", step " << i + 1;
    }
    EXPECT_NE(tf32.losses, f32.losses);
    expect_equal(tf32, train(prepared, {7}));
  }
}

// The same numbers from handwritten CUDA kernels: convolution, pooling, dropout (whose mask must be
// the same bits), batch norm, log-softmax, the optimisers.
TEST(Trainer, EmulatedDeviceFollowsTheCpu) {
  for (Prepared prepared :
       {Prepared{}, Prepared{.model = "resnet20", .optimizer = "adamw", .rate = 1e-3}}) {
    const Trained cpu = train(prepared);
    prepared.device = Device::emulated();
    const Trained emulated = train(prepared);
    ASSERT_EQ(emulated.losses.size(), cpu.losses.size());
    for (std::size_t i = 0; i < cpu.losses.size(); ++i) {
      EXPECT_NEAR(emulated.losses[i], cpu.losses[i], 1e-4 * std::abs(cpu.losses[i]))
          << prepared.model << ", step " << i + 1;
    }
  }
}

TEST(Trainer, EmulatedDeviceResumesBitForBit) {
  const Prepared prepared{.device = Device::emulated()};
  expect_equal(train(prepared), train(prepared, {7}));
}

TEST(Trainer, LossThatIsNotFiniteKeepsTheParametersBeforeIt) {
  const auto data = std::make_shared<Halves>(16);
  const ModelConfig config{"mlp", 2, 1, kSide, 0.1, 0};
  const auto model = make_model(config);
  const Classification task(config, {});
  TrainerOptions options;
  options.batch_size = 4;
  options.loader_threads = 0;
  options.schedule = {.name = "constant", .peak = 1e25};
  Trainer trainer(*model, task, data, nullptr, Pipeline(), Pipeline(), options);
  Progress progress;
  try {
    trainer.run(progress, {});
    FAIL() << "no failure";
  } catch (const Error& error) {
    EXPECT_EQ(error.blame(), Blame::failure);
    EXPECT_NE(std::string(error.what()).find("step"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("fc"), std::string::npos) << error.what();
  }
  for (const ParameterRef& parameter : model->parameters()) {
    for (float value : parameter->value.values<float>()) ASSERT_TRUE(std::isfinite(value));
  }
}

// In parts of what is planned without a limit, 0: none.
void expect_planned_peak(double part) {
  // Models that other tests keep.
  const std::size_t elsewhere = Allocator::of(Device::cpu()).use().live;
  const auto data = std::make_shared<Halves>(64);
  const ModelConfig config{"resnet20", 2, 1, kSide, 0.5, 0};
  const auto model = make_model(config);
  const Classification task(config, {});
  TrainerOptions options;
  options.epochs = 1;
  options.batch_size = 16;
  options.loader_threads = 1;
  if (part > 0) {
    Trainer whole(*make_model(config), task, data, data, Pipeline(), Pipeline(), options);
    options.memory_limit =
        static_cast<std::size_t>(part * static_cast<double>(whole.planned_bytes()));
  }
  Trainer trainer(*model, task, data, data, Pipeline(), Pipeline(), options);
  if (part > 0) EXPECT_LE(trainer.planned_bytes(), options.memory_limit);
  Allocator::of(Device::cpu()).reset_peak();
  Progress progress;
  trainer.run(progress, {});
  EXPECT_NEAR(static_cast<double>(trainer.planned_bytes()) /
                  static_cast<double>(trainer.peak_bytes() - elsewhere),
              1.0, 0.1)
      << part;
}
TEST(Trainer, PlannedPeakIsWhatIsMeasured) {
  for (const double part : {0.0, 0.85, 0.7}) expect_planned_peak(part);
}

// --- files ---

ModelInfo info_for(const ModelConfig& config) {
  return {config, {"a", "b", "c"}, Pipeline({Resize{12, 12, 0}, ToTensor{}})};
}

TEST(Checkpoint, ConvolutionWeightsAreWrittenChannelsFirstAndReadBack) {
  const TemporaryFolder folder;
  const ModelConfig config{"lenet", 3, 1, kSide, 0.25, 3};
  const auto model = make_model(config);
  const Checkpoints checkpoints(folder.path(), metadata_of(info_for(config)), 0);
  checkpoints.save_initial(*model);
  const Safetensors file = read_safetensors(folder / "checkpoints/initial.safetensors");
  for (const ParameterRef& parameter : model->parameters()) {
    const Tensor* const stored = file.find(parameter->name);
    ASSERT_NE(stored, nullptr) << parameter->name;
    const Shape& ours = parameter->value.shape();
    if (ours.rank() != 4) {
      EXPECT_EQ(stored->shape(), ours);
      continue;
    }
    ASSERT_EQ(stored->shape(), (Shape{ours[0], ours[3], ours[1], ours[2]}));
    for (std::int64_t o = 0; o < ours[0]; ++o)
      for (std::int64_t y = 0; y < ours[1]; ++y)
        for (std::int64_t x = 0; x < ours[2]; ++x)
          for (std::int64_t i = 0; i < ours[3]; ++i)
            ASSERT_EQ(stored->item(((o * ours[3] + i) * ours[1] + y) * ours[2] + x),
                      parameter->value.item(((o * ours[1] + y) * ours[2] + x) * ours[3] + i));
  }
  const LoadedModel loaded = load_model(folder.path(), "initial");
  EXPECT_EQ(loaded.info.classes, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(loaded.info.pipeline, info_for(config).pipeline);
  const auto before = model->parameters(), after = loaded.model->parameters();
  ASSERT_EQ(before.size(), after.size());
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(
        0, std::memcmp(before[i]->value.data(), after[i]->value.data(), before[i]->value.bytes()));
  }
}

TEST(Checkpoint, HeadOfAnotherSizeKeepsItsInitialValues) {
  const TemporaryFolder folder;
  const ModelConfig three{"lenet", 3, 1, kSide, 0.25, 3}, five{"lenet", 5, 1, kSide, 0.25, 4};
  const auto source = make_model(three), target = make_model(five), fresh = make_model(five);
  Checkpoints(folder.path(), metadata_of(info_for(three)), 0).save_initial(*source);
  std::string all;
  for (const std::string& sentence :
       load_weights(*target, folder / "checkpoints/initial.safetensors")) {
    all += sentence + "\n";
  }
  EXPECT_NE(all.find("fc2.weight"), std::string::npos) << all;
  for (std::size_t i = 0; i < target->parameters().size(); ++i) {
    const Parameter& got = *target->parameters()[i];
    const Parameter& want =
        got.name.starts_with("fc2") ? *fresh->parameters()[i] : *source->parameters()[i];
    EXPECT_EQ(0, std::memcmp(got.value.data(), want.value.data(), want.value.bytes())) << got.name;
  }
}

TEST(Checkpoint, WeightsOfAnotherModelOrNoneAreErrors) {
  const TemporaryFolder folder;
  const ModelConfig lenet{"lenet", 3, 1, kSide, 0.25, 3}, seednet{"seednet", 3, 1, 12, 0.05, 3};
  Checkpoints(folder.path(), metadata_of(info_for(lenet)), 0).save_initial(*make_model(lenet));
  const auto path = folder / "checkpoints/initial.safetensors";
  write_safetensors(folder / "alien.safetensors", {{"x", Tensor::scalar(1)}});
  const auto target = make_model(seednet);
  EXPECT_NE(usage_message([&] { load_weights(*target, folder / "alien.safetensors"); }).find("x"),
            std::string::npos);
  // A model file whose metadata names another architecture than its tensors are of.
  const Safetensors file = read_safetensors(path);
  write_safetensors(folder / "checkpoints/best.safetensors", {{"x", Tensor::scalar(1)}},
                    file.metadata);
  EXPECT_NE(usage_message([&] { load_model(folder.path(), "best"); }).find("conv1.weight"),
            std::string::npos);
  EXPECT_NE(usage_message([&] { load_model(folder.path(), "last"); }).find("last"),
            std::string::npos);
}

TEST(Checkpoint, StateFileThatWasChangedIsRefused) {
  const TemporaryFolder folder;
  const ModelConfig config{"mlp", 2, 1, kSide, 0.1, 0};
  const auto model = make_model(config);
  const Optimizer optimizer({});
  const Checkpoints checkpoints(folder.path(), metadata_of({config, {"a", "b"}, Pipeline()}), 0);
  checkpoints.save(*model, optimizer, {.step = 3}, true, false);
  std::vector<std::string> notices;
  EXPECT_EQ(checkpoints.resume(*model, optimizer, notices).step, 3);
  write_safetensors(folder / "checkpoints/state-3.safetensors", {{"x", Tensor::scalar(1)}});
  EXPECT_NE(usage_message([&] { checkpoints.resume(*model, optimizer, notices); }).find("state-3"),
            std::string::npos);
}

}  // namespace
}  // namespace tapescope
