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
#include "tools/training/estimate.h"

namespace tapescope::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

std::string human(double bytes) {
  return bytes < 1e9 ? fmt::format("{:.1f} MB", bytes / 1e6)
                     : fmt::format("{:.2f} GB", bytes / 1e9);
}

void print_plan(const MemoryPlan& plan, std::size_t prefetch, std::size_t statistics, double flops,
                double total_flops, const TrainConfig& config, bool json) {
  const std::size_t total = plan.total() + prefetch + statistics;
  if (json) {
    fmt::print("{}\n", Json{{"arena_bytes", plan.arena},
                            {"arena_lower_bound_bytes", plan.lower_bound},
                            {"without_sharing_bytes", plan.unpacked},
                            {"parameter_bytes", plan.parameters},
                            {"input_bytes", plan.inputs},
                            {"prefetch_bytes", prefetch},
                            {"statistics_bytes", statistics},
                            {"total_bytes", total},
                            {"planned_bytes", total},
                            {"step_flops", flops}}
                           .dump(2));
    return;
  }
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
  const double speed = measured_flops_per_second();
  fmt::print("  time for {} epochs    about {}, at the {:.0f} GFLOP/s measured here\n",
             config.epochs, duration_text(total_flops / speed), speed / 1e9);
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
    print_plan(plan, trainer.prefetch_bytes(), trainer.statistics_bytes(), trainer.step_flops(),
               total_flops, config, run.json);
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
  std::int64_t parameters = 0;
  for (const ParameterRef& p : run.model.trained_parameters()) parameters += p->value.elements();
  out.line(fmt::format(
      "{} at {}x{}: {} parameters, {:.2f} GFLOP and {} a step; {}; lr {}, {} threads", config.model,
      config.image_size, config.image_size, parameters, trainer.step_flops() / 1e9,
      human(static_cast<double>(planned)), run.images_sentence, config.lr, thread_count()));

  catch_interrupts();
  const Clock::time_point began = Clock::now();
  TrainerEvents events;
  events.stop = interrupted;
  events.tick = [&](const Progress& p, double loss, const std::vector<NamedNumber>& terms) {
    journal.tick(p, loss, terms);
  };
  events.step = [&](const StepRecord& r) { journal.step(r); };
  events.statistics = [&](const StatisticsRecord& r) { journal.statistics(r); };
  events.epoch = [&](const EpochRecord& r) { journal.epoch(r); };
  events.save = [&](const Progress& p, bool best, bool epoch_end) {
    journal.flush();
    checkpoints.save(run.model, trainer.optimizer(), p, best, epoch_end);
  };
  Allocator::of(run.device).reset_peak();
  bool finished = false;
  try {
    finished = trainer.run(progress, events);
  } catch (const Error& error) {
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
