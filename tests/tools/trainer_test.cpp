// Training and its checkpoints as a library: resuming, threads, guards, weights from elsewhere.
#include "tools/training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/philox.h"
#include "engine/thread_pool.h"
#include "tests/autograd/thread_ranks.h"
#include "tests/tools/temporary_folder.h"
#include "tools/training/checkpoint.h"
#include "tools/training/classifier_file.h"
#include "tools/training/environment.h"
#include "tools/training/safetensors.h"

namespace tapescope {
namespace {

constexpr int kSide = 12;

// Noise with a bright upper (class 0) or lower (class 1) half.
class Halves : public Dataset {
 public:
  explicit Halves(std::int64_t size) {
    for (std::int64_t i = 0; i < size; ++i) {
      Image image(kSide, kSide, 1);
      PhiloxStream random(static_cast<std::uint64_t>(i));
      for (int y = 0; y < kSide; ++y) {
        for (int x = 0; x < kSide; ++x) {
          const bool bright = (y < kSide / 2) == (i % 2 == 0);
          *image.at(y, x) = static_cast<std::uint8_t>(random.below(100) + (bright ? 120u : 0u));
        }
      }
      images_.push_back(std::move(image));
    }
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(images_.size()); }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::int64_t index) const override { return index % 2; }
  std::string name(std::int64_t index) const override { return std::to_string(index); }
  ImageView image(std::int64_t index) const override {
    return view_of(images_[static_cast<std::size_t>(index)]);
  }
  int channels() const override { return 1; }

 private:
  std::vector<Image> images_;
  std::vector<std::string> classes_{"upper", "lower"};
};

struct Prepared {
  std::string model = "lenet", optimizer = "sgd";
  int loader_threads = 0;
  double rate = 0.02;
  Device device = Device::cpu();
  DType precision = DType::f32;
  int chunks = 1;
};

struct Trained {
  std::vector<std::uint8_t> last, best, state;
  std::int64_t step = 0;
  std::vector<double> losses;  // by step, and of epochs
  std::vector<double> norms;   // of StatisticsRecords
  std::vector<std::uint64_t> batches;
};

// Trains for 3 epochs of 5 steps (17 samples: four batches of 4 and one of 1, augmented) with
// interruptions after the given numbers of steps, each time with everything built anew. Part i is
// trained by ranks[i] ranks, or the last number of these.
Trained train(const Prepared& prepared, const std::vector<std::int64_t>& stops = {},
              const std::vector<int>& ranks = {1}) {
  const TemporaryFolder folder;
  const auto data = std::make_shared<Halves>(17);
  const auto held_out = std::make_shared<Halves>(6);
  const ModelConfig config{prepared.model, 2, 1, kSide, 0.25, 7};
  const Pipeline random({RandomCrop{kSide, kSide, 1}, RandomHorizontalFlip{}, ToTensor{}});
  const Pipeline plain({ToTensor{}});
  Trained result;
  std::vector<std::string> notices;
  const auto run_part = [&](std::size_t part, Communicator* own) {
    const bool first = own == nullptr || own->rank() == 0;
    const auto model = make_model(config);
    const Classification task(config, {});
    TrainerOptions options;
    options.epochs = 3;
    options.batch_size = 4;
    options.seed = 7;
    options.loader_threads = prepared.loader_threads;
    options.optimizer.name = prepared.optimizer;
    options.schedule.peak = prepared.rate;
    options.device = prepared.device;
    options.precision = prepared.precision;
    options.log_every = 1;
    options.statistics_every = 2;
    options.chunks = prepared.chunks;
    options.ranks = own;
    Trainer trainer(*model, task, data, held_out, random, plain, options);
    const Checkpoints checkpoints(folder.path(), metadata_of({config, data->classes(), plain}), 0);
    Progress progress;
    if (part > 0) progress = checkpoints.resume(*model, trainer.optimizer(), notices);
    if (own != nullptr) own->barrier();  // nobody writes while another one reads
    TrainerEvents events;
    if (first) {
      events.save = [&](const Progress& p, bool best, bool epoch_end) {
        checkpoints.save(*model, trainer.optimizer(), p, best, epoch_end);
      };
      events.step = [&](const StepRecord& step) { result.losses.push_back(step.loss); };
      events.batch = [&](const Batch& batch) { result.batches.push_back(hash_of(batch)); };
      events.statistics = [&](const StatisticsRecord& record) {
        for (const auto* norms : {&record.gradient, &record.half_gradient, &record.update}) {
          result.norms.insert(result.norms.end(), norms->begin(), norms->end());
        }
      };
      events.epoch = [&](const EpochRecord& record) {
        result.losses.push_back(record.train_loss);
        result.losses.push_back(record.validation_loss);
        result.losses.push_back(record.validation_score);
      };
    }
    std::int64_t steps = 0;
    // One rank wants to stop: all do.
    const bool stops_it = own == nullptr || own->rank() == own->size() - 1;
    if (part < stops.size() && stops_it) events.stop = [&, part] { return ++steps >= stops[part]; };
    EXPECT_EQ(trainer.run(progress, events), part == stops.size());
    if (first) result.step = progress.step;
  };
  for (std::size_t part = 0; part <= stops.size(); ++part) {
    const int count = part < ranks.size() ? ranks[part] : ranks.back();
    if (count == 1) {
      run_part(part, nullptr);
    } else {
      ThreadRanks(count).run([&](Communicator& own) { run_part(part, &own); });
    }
  }
  EXPECT_TRUE(notices.empty());
  result.last = get(folder / "checkpoints/last.safetensors");
  result.best = get(folder / "checkpoints/best.safetensors");
  result.state =
      get(folder / ("checkpoints/state-" + std::to_string(result.step) + ".safetensors"));
  return result;
}

void expect_equal(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_TRUE(a.last == b.last) << "last.safetensors differ";
  EXPECT_TRUE(a.best == b.best) << "best.safetensors differ";
  EXPECT_TRUE(a.state == b.state) << "state files differ";
}

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

void expect_same_history(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.norms, b.norms);
  EXPECT_EQ(a.batches, b.batches);
}

// 17 samples in batches of 4: the last batch is one sample, of which all ranks but one have none.
TEST(Trainer, OneTwoAndFourRanksTrainTheSameModel) {
  for (const Prepared& prepared :
       {Prepared{.model = "lenet", .chunks = 4},
        Prepared{.model = "resnet20", .optimizer = "adamw", .rate = 0.002, .chunks = 4},
        Prepared{.model = "resnet20", .rate = 0.02, .precision = DType::bf16, .chunks = 4}}) {
    SCOPED_TRACE(prepared.model);
    const Trained one = train(prepared);
    for (int ranks : {2, 4}) {
      SCOPED_TRACE(ranks);
      const Trained shared = train(prepared, {}, {ranks});
      expect_equal(one, shared);
      expect_same_history(one, shared);
    }
  }
}

TEST(Trainer, IsResumedByAnyNumberOfRanks) {
  const Prepared prepared{.model = "resnet20", .chunks = 4};
  const Trained one = train(prepared), resumed = train(prepared, {3, 6}, {4, 2, 1});
  expect_equal(one, resumed);
}

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

TEST(Trainer, PlannedPeakIsWhatIsMeasured) {
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
  Trainer trainer(*model, task, data, data, Pipeline(), Pipeline(), options);
  Allocator::of(Device::cpu()).reset_peak();
  Progress progress;
  trainer.run(progress, {});
  EXPECT_NEAR(static_cast<double>(trainer.plan().total() + trainer.prefetch_bytes() +
                                  trainer.statistics_bytes()) /
                  static_cast<double>(trainer.peak_bytes() - elsewhere),
              1.0, 0.1);
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
