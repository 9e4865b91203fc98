#include "tools/tasks/training.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "engine/allocator.h"
#include "engine/processors.h"
#include "engine/thread_pool.h"
#include "tools/files/atomic_file.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/monitoring/diagnosis.h"
#include "tools/monitoring/journal.h"
#include "tools/tasks/choose_kernels.h"
#include "tools/tasks/kit.h"
#include "tools/training/checkpoint.h"
#include "tools/training/deviation.h"
#include "tools/training/environment.h"
#include "tools/training/estimate.h"
#include "tools/training/kernel_file.h"
#include "tools/training/memory_limit.h"

namespace tapescope::tasks {
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
double expected_seconds(PreparedTraining& run, double planned_bytes) {
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
  const double validation =
      static_cast<double>(run.start.validation_images) /
      static_cast<double>(std::max<std::int64_t>(1, run.setup.train->size())) / 3;
  return step * static_cast<double>(trainer.steps_per_epoch() * run.config.epochs) *
         (1 + validation);
}

std::string how_best_was_chosen(const TrainConfig& config, const monitoring::HistoryStart& start,
                                const Progress& progress) {
  const std::int64_t mean = BestEpoch::epochs_of_a_mean(start.validation_images);
  if (mean > config.epochs) return fmt::format("the last of {} epochs", config.epochs);
  return fmt::format("best of {} epochs{}: {}", config.epochs,
                     mean > 1 ? fmt::format(" by the mean of {}", mean) : "", progress.best.epoch);
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
  metrics["best_epoch"] = progress.best.epoch;
  metrics["best_validation_score"] = progress.best.score;
  metrics["seconds"] = seconds;
  metrics["images_per_second"] = journal.images_per_second();
  metrics["seconds_data_wait"] = journal.data_wait_seconds();
  metrics["seconds_statistics"] = journal.statistics_seconds();
  metrics["peak_bytes"] = peak;
  metrics["planned_bytes"] = planned;
  return metrics;
}

// A few samples, evenly over the source.
Tensor probe_images(const SampleSource& samples) {
  constexpr std::int64_t kImages = 16;
  return inputs_of(samples, spread(samples.size(), kImages));
}

// What histories begin with.
monitoring::HistoryStart start_of(const TrainConfig& config, const TrainingSetup& setup,
                                  const Trainer& trainer) {
  monitoring::HistoryStart start;
  start.score = setup.task->score_name();
  start.model = config.model;
  start.loss = setup.loss;
  start.epochs = config.epochs;
  start.steps = trainer.steps_per_epoch() * config.epochs;
  start.batch_size = config.batch_size;
  start.learning_rate = config.lr;
  start.classes = setup.classes;
  start.images = setup.per_class;
  start.validation_images = setup.validation ? setup.validation->size() : 0;
  start.parameters = trainer.statistics_names();
  return start;
}

monitoring::JournalOptions journal_options(const PreparedTraining& training, bool resume) {
  const TrainConfig& config = training.config;
  const TrainingSetup& setup = training.setup;
  const Backend backend{setup.options.device, setup.options.kernels};
  monitoring::JournalOptions options{.run = config.out,
                                     .resume = resume,
                                     .tensorboard = config.tensorboard,
                                     .start = training.start};
  options.probe =
      std::make_unique<inspection::PulseProbe>(record_of(*setup.model), setup.image, backend);
  options.probe_images = probe_images(*setup.probed);
  if (!config.watch_images.empty() && setup.watched) {
    options.watch = std::make_unique<monitoring::Watch>(config.watch_images,
                                                        comma_separated(config.watch_methods),
                                                        *setup.watched, backend, config.out);
  }
  return options;
}

}  // namespace

std::unique_ptr<PreparedTraining> prepare_training(TrainConfig config,
                                                   const TrainingRequest& request,
                                                   monitoring::ProgressLine& out) {
  // Before the data is read: a missing device is soon told.
  choose_chunks(config, device_from_name(config.device),
                request.ranks != nullptr ? request.ranks->size() : 1);
  const Kit& kit = kit_for(config);
  TrainingSetup setup = kit.prepare(config, request);
  setup.metadata[kTaskKey] = kit.name();
  setup.options.ranks = request.ranks;
  for (const std::string& notice : setup.notices) out.line(notice);
  if (!config.weights.empty() && !request.resume) {
    for (const std::string& sentence : load_weights(*setup.model, config.weights)) {
      out.line(sentence);
    }
  }
  if (!config.freeze.empty()) {
    out.line(fmt::format("frozen: {} parameters", freeze(*setup.model, config.freeze)));
  }
  if (setup.head.empty()) setup.head = head_of(*setup.model);
  if (!config.train_only.empty()) {
    std::vector<ParameterRef> frozen = train_only(*setup.model, config.train_only, setup.head);
    out.line(fmt::format(
        "--train-only {}: {} parameters are trained, {} frozen as they are{}", config.train_only,
        setup.model->trained_parameters().size(), frozen.size(),
        config.unfreeze_after > 0 ? fmt::format(" for {} epochs", config.unfreeze_after) : ""));
    setup.options.unfrozen = std::move(frozen);
  }
  setup.options.optimizer.rate_factors = rate_factors(*setup.model, config.lr_factors, setup.head);
  if (!config.watch_images.empty() && !setup.watched) {
    out.line(fmt::format("--watch-images is of class scores; a {} has none and watches nothing",
                         config.model));
  }
  const ChosenKernels kernels = choose_kernels(config, request, setup, out);
  std::unique_ptr<PreparedTraining> training;
  kernels.prepare([&] {
    training = std::make_unique<PreparedTraining>(std::move(config), std::move(setup));
    training->trainer.plan();
  });
  training->profile = request.profile;
  training->kernels = kernels.text;
  training->start = start_of(training->config, training->setup, training->trainer);
  return training;
}

std::unique_ptr<FolderLock> lock_run(const std::filesystem::path& folder) {
  auto lock = std::make_unique<FolderLock>(folder);
  if (!lock->notice().empty()) fmt::print(stderr, "{}\n", lock->notice());
  for (const char* inner : {"", "checkpoints", "watch"}) remove_stale_temporaries(folder / inner);
  return lock;
}

TrainingPlan plan_of(PreparedTraining& run) {
  const TrainConfig& config = run.config;
  Trainer& trainer = run.trainer;
  const MemoryPlan plan = trainer.plan();
  const MemoryBeside beside = trainer.beside();
  const std::size_t total = plan.total() + beside.total();
  const double flops = trainer.step_flops();
  const double seconds = expected_seconds(run, static_cast<double>(total));
  const Recomputation again = trainer.recomputed();
  const std::size_t limit = run.setup.options.memory_limit;
  const std::size_t unlimited = again.values > 0 ? again.unlimited + beside.total() : total;
  const Json json = {{"arena_bytes", plan.arena},
                     {"arena_lower_bound_bytes", plan.lower_bound},
                     {"without_sharing_bytes", plan.unpacked},
                     {"parameter_bytes", plan.parameters},
                     {"input_bytes", plan.inputs},
                     {"prefetch_bytes", beside.prefetch},
                     {"statistics_bytes", beside.statistics},
                     {"total_bytes", total},
                     {"planned_bytes", total},
                     {"memory_limit_bytes", limit > 0 ? Json(limit) : Json()},
                     {"unlimited_bytes", unlimited},
                     {"recomputed_values", again.values},
                     {"recomputed_bytes", again.bytes},
                     {"recomputed_flops_fraction", again.flops},
                     {"step_flops", flops},
                     {"model", config.model},
                     {"image_size", config.image_size},
                     {"training_images", run.setup.train->size()},
                     {"validation_images", run.start.validation_images},
                     {"classes", run.start.classes.size()},
                     {"seconds", seconds}};
  const auto row = [](const char* name, double bytes) {
    return fmt::format("  {:<20} {:>10}", name, human(bytes));
  };
  std::string text = run.setup.images_sentence + "\n";
  text +=
      fmt::format("one training step of {} at {}x{}, batch {}:\n", config.model, run.setup.image[1],
                  run.setup.image[0], std::min(config.batch_size, run.setup.train->size()));
  text += fmt::format("{}  (at least {}; {} without sharing)\n",
                      row("intermediate values", static_cast<double>(plan.arena)),
                      human(static_cast<double>(plan.lower_bound)),
                      human(static_cast<double>(plan.unpacked)));
  text +=
      fmt::format("  parameters and moments {:>8}\n", human(static_cast<double>(plan.parameters)));
  text += row("inputs", static_cast<double>(plan.inputs)) + "\n";
  text += row("batches ahead", static_cast<double>(beside.prefetch)) + "\n";
  text += row("statistics", static_cast<double>(beside.statistics)) + "\n";
  text += row("total", static_cast<double>(total)) + "\n";
  if (again.values > 0) text += "  " + memory_told(again, beside.total()) + "\n";
  text += fmt::format("  arithmetic           {:>10.2f} GFLOP\n", flops / 1e9);
  const std::int64_t steps = trainer.steps_per_epoch() * config.epochs;
  text += fmt::format("  time for {} epochs    {}, {} steps of {:.3g} ms here\n", config.epochs,
                      seconds < 1 ? "less than a second" : "about " + duration_text(seconds), steps,
                      1e3 * seconds / static_cast<double>(steps));
  return {text, json_text(json, 2)};
}

namespace {

void tell_effort(PreparedTraining& run, std::size_t planned, monitoring::ProgressLine& out) {
  constexpr double kMuch = 2e14;  // minutes of a good machine
  const double total_flops = run.trainer.step_flops() *
                             static_cast<double>(run.trainer.steps_per_epoch()) *
                             static_cast<double>(run.config.epochs);
  if (total_flops <= kMuch) return;
  out.line(fmt::format("this will take about {} and {} of memory",
                       duration_text(total_flops / measured_flops_per_second()),
                       human(static_cast<double>(planned))));
}

// From the state that is kept, or from the initial values, which are kept.
Progress begin_training(PreparedTraining& run, const Checkpoints& checkpoints, bool resume,
                        monitoring::ProgressLine& out) {
  const TrainConfig& config = run.config;
  Progress progress;
  if (resume) {
    std::vector<std::string> notices;
    progress = checkpoints.resume(*run.setup.model, run.trainer.optimizer(), notices);
    for (const std::string& notice : notices) out.line(notice);
    out.line(fmt::format("continuing at step {} (epoch {})", progress.step, progress.epoch + 1));
  } else {
    if (std::filesystem::exists(checkpoints.file("last"))) {
      throw usage_error("'{}' already holds a training; choose another --out, or --resume it",
                        config.out);
    }
    write_config(config, config.out + "/config.toml");
    checkpoints.save_initial(*run.setup.model);
  }
  if (!run.kernels.empty()) write_atomically(kernel_file_of(config.out), run.kernels);
  if (run.setup.begin) run.setup.begin();
  return progress;
}

void tell_start(PreparedTraining& run, std::size_t planned, monitoring::ProgressLine& out) {
  const TrainConfig& config = run.config;
  std::int64_t parameters = 0;
  for (const ParameterRef& p : run.setup.model->trained_parameters()) {
    parameters += p->value.elements();
  }
  const std::vector<int> processors = allowed_processors();
  const Communicator* const ranks = run.setup.options.ranks;
  const std::string shared =
      ranks != nullptr ? fmt::format("{} ranks ({}{}), ", ranks->size(), ranks->transport(),
                                     config.fast_all_reduce ? ", sums in its order" : "")
                       : "";
  out.line(fmt::format(
      "{} at {}x{}: {} parameters, {:.2f} GFLOP and {} per step; {}; lr {}, {}{} thread{} on "
      "processor{} {}",
      config.model, run.setup.image[1], run.setup.image[0], parameters,
      run.trainer.step_flops() / 1e9, human(static_cast<double>(planned)),
      run.setup.images_sentence, config.lr, shared, thread_count(), plural(thread_count()),
      plural(std::ssize(processors)), ranges_text(processors)));
  const std::string told = memory_told(run.trainer.recomputed(), run.trainer.beside().total());
  if (!told.empty()) out.line(told);
  const TrainerOptions& how = run.setup.options;
  const std::string slow = slow_precision({how.device, how.kernels, how.precision});
  if (!slow.empty()) out.line(slow);
  const std::int64_t few = run.start.validation_images;
  if (few == 0 || few >= monitoring::kFewImages) return;
  out.line(fmt::format(
      "the validation set of {} image{} is too small to tell one epoch from the next: the "
      "checkpoint 'best' goes by the mean of {} epochs, and is the last one until there are so "
      "many; more pictures or a larger --validation-fraction would tell more",
      few, plural(few), BestEpoch::epochs_of_a_mean(few)));
}

// All of them outlive the events.
TrainerEvents events_of(PreparedTraining& run, const Checkpoints& checkpoints,
                        FirstSteps& first_steps, monitoring::Journal& journal,
                        monitoring::ProgressLine& out) {
  TrainerEvents events;
  events.note = [&](const std::string& sentence) { out.line(sentence); };
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
    checkpoints.save(*run.setup.model, run.trainer.optimizer(), p, best, epoch_end);
  };
  return events;
}

// Says where the time of a few steps went, and keeps it. False if that cannot be written, which
// ends no training.
bool tell_profile(const StepProfile& profile, const Ceilings& ceilings, const TrainConfig& config,
                  monitoring::ProgressLine& out) {
  std::istringstream lines(profile.to_text(ceilings));
  for (std::string line; std::getline(lines, line);) out.line(line);
  try {
    write_atomically(config.out + "/profile.json", profile.to_json(ceilings) + "\n");
    write_atomically(config.out + "/profile.trace.json", profile.to_trace() + "\n");
    return true;
  } catch (const Error& error) {
    out.line(fmt::format("the profile is not kept: {}", error.what()));
    return false;
  }
}

// As soon as its steps have run; `kept` is set then. All of them outlive the events.
void tell_when_complete(StepProfile& profile, std::optional<bool>& kept, TrainerEvents& events,
                        const PreparedTraining& run, monitoring::ProgressLine& out) {
  events.profile = &profile;
  Ceilings ceilings;  // measured now: later the loader takes its share of the processors
  if (run.setup.options.device.kind == DeviceKind::cpu) {
    ceilings = {measured_flops_per_second(), measured_bytes_per_second()};
  }
  events.tick = [&, ceilings, tick = events.tick](const Progress& p, double loss,
                                                  const auto& terms) {
    tick(p, loss, terms);
    if (!kept && profile.complete()) kept = tell_profile(profile, ceilings, run.config, out);
  };
}

}  // namespace

namespace {

// Of the time.
void tell_shares(const monitoring::Journal& journal, const Communicator* ranks, double seconds,
                 monitoring::ProgressLine& out) {
  if (journal.statistics_seconds() > 0) {
    out.line(fmt::format("statistics of the parameters took {:.1f} % of the time",
                         100 * journal.statistics_seconds() / journal.seconds()));
  }
  if (ranks == nullptr) return;
  out.line(fmt::format("communication between {} ranks ({}) took {:.1f} % of the time",
                       ranks->size(), ranks->transport(), 100 * ranks->seconds() / seconds));
}

// A rank beside the first, which writes the run and says how it goes.
TrainingEnd run_beside(PreparedTraining& run, const Checkpoints& checkpoints, bool resume,
                       const std::function<bool()>& stop) {
  Progress progress;
  std::vector<std::string> told_by_the_first;
  if (resume) {
    progress = checkpoints.resume(*run.setup.model, run.trainer.optimizer(), told_by_the_first);
  }
  TrainerEvents events;
  events.stop = stop;
  StepProfile profile(run.profile);  // it runs the same steps
  if (run.profile > 0) events.profile = &profile;
  return {run.trainer.run(progress, events) ? 0 : 130, ""};
}

}  // namespace

TrainingEnd run_training(PreparedTraining& run, bool resume, const std::function<bool()>& stop,
                         monitoring::ProgressLine& out) {
  const TrainConfig& config = run.config;
  Trainer& trainer = run.trainer;
  const Checkpoints checkpoints(config.out, run.setup.metadata, config.keep_checkpoints);
  const Communicator* const ranks = run.setup.options.ranks;
  if (ranks != nullptr && ranks->rank() > 0) return run_beside(run, checkpoints, resume, stop);
  const std::size_t planned = trainer.planned_bytes();
  tell_effort(run, planned, out);
  // Before anything is written: what is watched may not be there.
  monitoring::JournalOptions kept = journal_options(run, resume);
  Progress progress = begin_training(run, checkpoints, resume, out);
  kept.first_step = progress.step;
  kept.first_epoch = progress.epoch;
  monitoring::Journal journal(std::move(kept), *run.setup.model, out);
  const Device device = run.setup.options.device;
  FirstSteps first_steps(config.out, environment_of(config, device), resume, progress.step);
  tell_start(run, planned, out);

  const Clock::time_point began = Clock::now();
  TrainerEvents events = events_of(run, checkpoints, first_steps, journal, out);
  events.stop = stop;
  StepProfile profile(run.profile);
  std::optional<bool> profiled;
  if (run.profile > 0) tell_when_complete(profile, profiled, events, run, out);
  Allocator::of(device).reset_peak();
  bool finished = false;
  try {
    finished = trainer.run(progress, events);
  } catch (const Error& error) {
    first_steps.flush();
    journal.failed(progress, error.what());
    throw;
  }
  const bool recorded = journal.finish() && profiled.value_or(true);
  if (run.profile > 0 && !profiled)
    out.line("--profile: there were not so many full batches; nothing is told");
  if (!finished) {
    out.line(
        fmt::format("stopped at step {}, the state is saved; tapescope train --resume --out {} "
                    "goes on from here",
                    progress.step, config.out));
    return {130, ""};
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  tell_shares(journal, ranks, seconds, out);
  const TestResult test = run.setup.test();
  if (!test.sentence.empty()) {
    const std::string chosen = how_best_was_chosen(config, run.start, progress);
    out.line(fmt::format("{} ({}); {:.0f} s", test.sentence, chosen, seconds));
  }
  const Json metrics = metrics_json(test, checkpoints.file("best"), config, progress, seconds,
                                    journal, planned, trainer.peak_bytes());
  const std::string text = json_text(metrics, 2);
  write_atomically(config.out + "/metrics.json", text + "\n");
  return {recorded ? 0 : 1, text};
}

}  // namespace tapescope::tasks
