#include "tools/cli/training_run.h"

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/allocator.h"
#include "engine/thread_pool.h"
#include "tools/cli/inspected.h"
#include "tools/cli/process.h"
#include "tools/files/atomic_file.h"
#include "tools/files/json_text.h"
#include "tools/monitoring/diagnosis.h"
#include "tools/training/environment.h"
#include "tools/training/estimate.h"

namespace tapescope::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{3};  // of --plan, with trying steps

std::string human(double bytes) {
  return bytes < 1e9 ? fmt::format("{:.1f} MB", bytes / 1e6)
                     : fmt::format("{:.2f} GB", bytes / 1e9);
}

// What the whole training will take, from a few steps of it where these are quick and small:
// reading pictures and all else that is no arithmetic count as well. The model is another one
// afterwards.
double expected_seconds(const TrainingRun& run, double planned_bytes) {
  constexpr double kSlowStep = 1, kMuchMemory = 4e9;
  constexpr std::size_t kSteps = 8;
  Trainer& trainer = run.trainer;
  double step = trainer.step_flops() / measured_flops_per_second();
  if (step < kSlowStep && planned_bytes < kMuchMemory) {
    std::vector<Clock::time_point> times = {Clock::now()};
    TrainerEvents events;
    events.tick = [&](const Progress&, double, const std::vector<NamedNumber>&) {
      times.push_back(Clock::now());
    };
    events.stop = [&] { return times.size() > kSteps || times.back() - times[0] > kPatience; };
    Progress progress;
    try {
      trainer.run(progress, events);
    } catch (const Error&) {
      // What stops a training is no matter of its plan.
    }
    // The first step waits for the first batch.
    const std::size_t from = times.size() > 2 ? 1 : 0;
    if (times.size() > 1) {
      const std::chrono::duration<double> spent = times.back() - times[from];
      step = std::max(step, spent.count() / static_cast<double>(times.size() - 1 - from));
    }
  }
  // A validation picture takes about a third of a training picture's arithmetic.
  const double validation = static_cast<double>(run.start.validation_images) /
                            static_cast<double>(std::max<std::int64_t>(1, run.training_images)) / 3;
  return step * static_cast<double>(trainer.steps_per_epoch() * run.config.epochs) *
         (1 + validation);
}

void print_plan(const TrainingRun& run, const MemoryPlan& plan) {
  const TrainConfig& config = run.config;
  Trainer& trainer = run.trainer;
  const std::size_t prefetch = trainer.prefetch_bytes(), statistics = trainer.statistics_bytes();
  const std::size_t total = plan.total() + prefetch + statistics;
  const double flops = trainer.step_flops();
  const double seconds = expected_seconds(run, static_cast<double>(total));
  if (run.json) {
    fmt::print("{}\n", json_text(Json{{"arena_bytes", plan.arena},
                                      {"arena_lower_bound_bytes", plan.lower_bound},
                                      {"without_sharing_bytes", plan.unpacked},
                                      {"parameter_bytes", plan.parameters},
                                      {"input_bytes", plan.inputs},
                                      {"prefetch_bytes", prefetch},
                                      {"statistics_bytes", statistics},
                                      {"total_bytes", total},
                                      {"planned_bytes", total},
                                      {"step_flops", flops},
                                      {"model", config.model},
                                      {"image_size", config.image_size},
                                      {"training_images", run.training_images},
                                      {"validation_images", run.start.validation_images},
                                      {"classes", run.start.classes.size()},
                                      {"seconds", seconds}},
                                 2));
    return;
  }
  if (!run.images_sentence.empty()) fmt::print("{}\n", run.images_sentence);
  fmt::print("one training step of {} at {}x{}, batch {}:\n", config.model, config.image_size,
             config.image_size, config.batch_size);
  fmt::print("  intermediate values  {:>10}  (at least {}; {} without sharing)\n",
             human(static_cast<double>(plan.arena)), human(static_cast<double>(plan.lower_bound)),
             human(static_cast<double>(plan.unpacked)));
  fmt::print("  parameters and moments {:>8}\n", human(static_cast<double>(plan.parameters)));
  fmt::print("  inputs               {:>10}\n", human(static_cast<double>(plan.inputs)));
  fmt::print("  batches ahead        {:>10}\n", human(static_cast<double>(prefetch)));
  fmt::print("  statistics           {:>10}\n", human(static_cast<double>(statistics)));
  fmt::print("  total                {:>10}\n", human(static_cast<double>(total)));
  fmt::print("  arithmetic           {:>10.2f} GFLOP\n", flops / 1e9);
  const std::int64_t steps = trainer.steps_per_epoch() * config.epochs;
  fmt::print("  time for {} epochs    {}, {} steps of {:.3g} ms here\n", config.epochs,
             seconds < 1 ? "less than a second" : "about " + duration_text(seconds), steps,
             1e3 * seconds / static_cast<double>(steps));
}

Json metrics_json(const TestResult& test, const std::filesystem::path& checkpoint,
                  const TrainConfig& config, const Progress& progress, double seconds,
                  const monitoring::Journal& journal, std::size_t planned, std::size_t peak) {
  Json metrics;
  for (const auto& [key, value] : test.numbers) {
    metrics[key] = std::isfinite(value) ? Json(value) : Json();
  }
  metrics["checkpoint"] = checkpoint.string();
  metrics["epochs"] = config.epochs;
  metrics["best_epoch"] = progress.best_epoch;
  metrics["best_validation_score"] = progress.best_score;
  metrics["seconds"] = seconds;
  metrics["images_per_second"] = journal.images_per_second();
  metrics["seconds_data_wait"] = journal.data_wait_seconds();
  metrics["seconds_statistics"] = journal.statistics_seconds();
  metrics["peak_bytes"] = peak;
  metrics["planned_bytes"] = planned;
  return metrics;
}

}  // namespace

std::unique_ptr<FolderLock> lock_run(const std::filesystem::path& folder) {
  auto lock = std::make_unique<FolderLock>(folder);
  if (!lock->notice().empty()) fmt::print(stderr, "{}\n", lock->notice());
  for (const char* inner : {"", "checkpoints", "watch"}) remove_stale_temporaries(folder / inner);
  return lock;
}

Tensor probe_images(const SampleSource& samples) {
  constexpr std::int64_t kImages = 16;
  return inputs_of(samples, spread(samples.size(), kImages));
}

int run_training(TrainingRun run, monitoring::ProgressLine& out) {
  const TrainConfig& config = run.config;
  Trainer& trainer = run.trainer;
  const MemoryPlan plan = trainer.plan();
  const std::size_t planned = plan.total() + trainer.prefetch_bytes() + trainer.statistics_bytes();
  const double total_flops = trainer.step_flops() * static_cast<double>(trainer.steps_per_epoch()) *
                             static_cast<double>(config.epochs);
  if (run.plan) {
    print_plan(run, plan);
    return 0;
  }
  if (constexpr double kMuch = 2e14; total_flops > kMuch) {  // minutes of a good machine
    out.line(fmt::format("this will take about {} and {} of memory",
                         duration_text(total_flops / measured_flops_per_second()),
                         human(static_cast<double>(planned))));
  }
  const Checkpoints checkpoints(config.out, run.metadata, config.keep_checkpoints);
  const std::string folder = config.out + "/";
  Progress progress;
  if (run.resume) {
    std::vector<std::string> notices;
    progress = checkpoints.resume(run.model, trainer.optimizer(), notices);
    for (const std::string& notice : notices) out.line(notice);
    out.line(fmt::format("continuing at step {} (epoch {})", progress.step, progress.epoch + 1));
  } else {
    if (std::filesystem::exists(checkpoints.file("last"))) {
      throw usage_error("'{}' already holds a training; choose another --out, or --resume it",
                        config.out);
    }
    write_config(config, folder + "config.toml");
    checkpoints.save_initial(run.model);
  }
  if (run.begin) run.begin();
  monitoring::Journal journal({.run = config.out,
                               .resume = run.resume,
                               .tensorboard = config.tensorboard,
                               .first_step = progress.step,
                               .first_epoch = progress.epoch,
                               .start = run.start,
                               .probe = std::move(run.probe),
                               .probe_images = run.probe_images,
                               .watch = std::move(run.watch)},
                              run.model, out);
  FirstSteps first_steps(config.out, environment_of(config, run.device), run.resume, progress.step);
  std::int64_t parameters = 0;
  for (const ParameterRef& p : run.model.trained_parameters()) parameters += p->value.elements();
  out.line(fmt::format(
      "{} at {}x{}: {} parameters, {:.2f} GFLOP and {} a step; {}; lr {}, {} threads", config.model,
      config.image_size, config.image_size, parameters, trainer.step_flops() / 1e9,
      human(static_cast<double>(planned)), run.images_sentence, config.lr, thread_count()));

  if (const std::int64_t few = run.start.validation_images;
      few > 0 && few < monitoring::kFewImages) {
    out.line(fmt::format(
        "the validation set of {} image{} is too small to tell: it picks the checkpoint 'best' "
        "nearly by chance; compare it with 'last', or give more pictures or a larger "
        "--validation-fraction",
        few, few == 1 ? "" : "s"));
  }

  catch_interrupts();
  const Clock::time_point began = Clock::now();
  TrainerEvents events;
  events.stop = interrupted;
  events.batch = [&](const Batch& batch) { first_steps.batch(batch); };
  events.tick = [&](const Progress& p, double loss, const std::vector<NamedNumber>& terms) {
    if (const std::string problem = first_steps.step(loss); !problem.empty()) out.line(problem);
    journal.tick(p, loss, terms);
  };
  events.step = [&](const StepRecord& r) { journal.step(r); };
  events.statistics = [&](const StatisticsRecord& r) { journal.statistics(r); };
  events.epoch = [&](const EpochRecord& r) { journal.epoch(r); };
  events.save = [&](const Progress& p, bool best, bool epoch_end) {
    journal.flush();
    first_steps.flush();  // what is resumed from here needs them
    checkpoints.save(run.model, trainer.optimizer(), p, best, epoch_end);
  };
  Allocator::of(run.device).reset_peak();
  bool finished = false;
  try {
    finished = trainer.run(progress, events);
  } catch (const Error& error) {
    first_steps.flush();
    journal.failed(progress, error.what());
    throw;
  }
  const bool recorded = journal.finish();
  if (!finished) {
    out.line(
        fmt::format("stopped at step {}, the state is saved; tapescope train --resume --out {} "
                    "goes on from here",
                    progress.step, config.out));
    return 130;
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  if (journal.statistics_seconds() > 0) {
    out.line(fmt::format("statistics of the parameters took {:.1f} % of the time",
                         100 * journal.statistics_seconds() / journal.seconds()));
  }
  const TestResult test = run.test();
  if (!test.sentence.empty()) {
    out.line(fmt::format("{} (best of {} epochs: {}); {:.0f} s", test.sentence, config.epochs,
                         progress.best_epoch, seconds));
  }
  const Json metrics = metrics_json(test, checkpoints.file("best"), config, progress, seconds,
                                    journal, planned, trainer.peak_bytes());
  write_atomically(folder + "metrics.json", json_text(metrics, 2) + "\n");
  if (run.json) fmt::print("{}\n", json_text(metrics, 2));
  return recorded ? 0 : 1;
}

}  // namespace tapescope::cli
