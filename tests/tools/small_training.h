// A small training as a library, of a data set that is drawn.
#pragma once

#include <gtest/gtest.h>

#include "tests/autograd/thread_ranks.h"
#include "tests/tools/drawn_pictures.h"
#include "tests/tools/temporary_folder.h"
#include "tools/training/checkpoint.h"
#include "tools/training/classifier_file.h"
#include "tools/training/environment.h"
#include "tools/training/memory_limit.h"
#include "tools/training/trainer.h"

namespace tapescope {

inline constexpr int kSide = 12;

struct Prepared {
  std::string model = "lenet", optimizer = "sgd";
  int loader_threads = 0;
  double rate = 0.02;
  Device device = Device::cpu();
  Precision precision = DType::f32;
  int chunks = 1;
  std::size_t memory_limit = 0;
};

struct Trained {
  std::vector<std::uint8_t> last, best, state;
  std::int64_t step = 0;
  std::vector<double> losses;  // by step, and of epochs
  std::vector<double> norms;   // of StatisticsRecords
  std::vector<std::uint64_t> batches;
  std::size_t planned = 0;  // bytes
  std::string memory_told;
};

// Trains for 3 epochs of 5 steps (17 samples: four batches of 4 and one of 1, augmented) with
// interruptions after the given numbers of steps, each time with everything built anew. Part i is
// trained by ranks[i] ranks, or the last number of these.
inline Trained train(const Prepared& prepared, const std::vector<std::int64_t>& stops = {},
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
    options.memory_limit = prepared.memory_limit;
    options.ranks = own;
    Trainer trainer(*model, task, data, held_out, random, plain, options);
    if (first) {
      result.planned = trainer.planned_bytes();
      result.memory_told = memory_told(trainer.recomputed(), trainer.beside().total());
    }
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

inline void expect_equal(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_TRUE(a.last == b.last) << "last.safetensors differ";
  EXPECT_TRUE(a.best == b.best) << "best.safetensors differ";
  EXPECT_TRUE(a.state == b.state) << "state files differ";
}

}  // namespace tapescope
