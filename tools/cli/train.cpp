#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>

#include "engine/allocator.h"
#include "engine/thread_pool.h"
#include "tools/cli/cli.h"
#include "tools/monitoring/journal.h"
#include "tools/training/atomic_file.h"
#include "tools/training/checkpoint.h"
#include "tools/training/config.h"
#include "tools/training/estimate.h"

namespace tapescope::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Options {
  TrainConfig config;
  bool resume = false, plan = false, json = false;
};

volatile std::sig_atomic_t interrupted = 0;
void interrupt(int) { interrupted = 1; }

std::string human(double bytes) {
  return bytes < 1e9 ? fmt::format("{:.1f} MB", bytes / 1e6)
                     : fmt::format("{:.2f} GB", bytes / 1e9);
}

// The options of a run that is resumed are those it was started with. One that is typed again must
// agree, unless it changes no bit of the result.
void take_stored_options(TrainConfig& config, const CLI::App& app) {
  const std::filesystem::path path = std::filesystem::path(config.out) / "config.toml";
  if (!std::filesystem::exists(path)) {
    throw usage_error("--resume: '{}' is no run directory (no config.toml); leave --resume out",
                      config.out);
  }
  std::map<std::string, std::string> stored;
  try {
    for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_file(path.string())) {
      if (!item.inputs.empty()) stored[item.name] = item.inputs[0];
    }
  } catch (const CLI::Error& error) {
    throw usage_error("--resume: '{}' cannot be read: {}", path.string(), error.what());
  }
  for_each_option(config, [&](std::string_view option, auto& value, std::string_view) {
    const std::string name(option);
    const bool typed = app.count("--" + name) > 0;
    const auto it = stored.find(name);
    if (typed && may_change_on_resume(name)) return;
    auto old = std::decay_t<decltype(value)>(value);
    if (it == stored.end()) {
      old = {};  // an empty text is not written
    } else if (!CLI::detail::lexical_cast(it->second, old)) {
      throw usage_error("--resume: '{}' has '{}' for {}, which cannot be understood", path.string(),
                        it->second, name);
    }
    if (typed && old != value) {
      throw usage_error(
          "--resume: the run has {} = {}, not {}; leave --{} out, or start another "
          "run with another --out",
          name, old, value, name);
    }
    if (it != stored.end()) value = old;
  });
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

DataSplits open(const TrainConfig& config) {
  device_from_name(config.device);  // before the data is read: a missing device is soon told
  DataOptions options;
  options.validation_fraction = config.validation_fraction;
  options.test_fraction = config.test_fraction;
  options.limit = config.limit;
  options.seed = config.seed;
  if (config.on_bad_image == "skip") options.on_bad_image = BadImage::skip;
  DataSplits data = open_data(config.data, options);
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", notice);
  for (const std::string& bad : data.bad_images) fmt::print(stderr, "left out: {}\n", bad);
  if (data.classes.size() < 2) {
    throw usage_error("'{}' has one class, '{}'; a classifier needs at least two class folders",
                      config.data, data.classes.empty() ? "" : data.classes[0]);
  }
  return data;
}

// What histories begin with.
monitoring::HistoryStart start_of(const TrainConfig& config, const DataSplits& data,
                                  const Trainer& trainer) {
  monitoring::HistoryStart start;
  start.model = config.model;
  start.loss = config.loss;
  start.epochs = config.epochs;
  start.steps = trainer.steps_per_epoch() * config.epochs;
  start.batch_size = config.batch_size;
  start.learning_rate = config.lr;
  start.classes = data.classes;
  start.images.assign(data.classes.size(), 0);
  for (std::int64_t i = 0; i < data.train->size(); ++i) {
    ++start.images[static_cast<std::size_t>(data.train->label(i))];
  }
  start.validation_images = data.validation ? data.validation->size() : 0;
  start.parameters = trainer.statistics_names();
  return start;
}

// A few images, evenly over the classes, as the model will see them.
Tensor probe_images(std::shared_ptr<const Dataset> data, const Pipeline& pipeline) {
  constexpr std::int64_t kImages = 16;
  const std::int64_t count = std::min(kImages, data->size());
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < count; ++i) chosen.push_back(i * data->size() / count);
  Loader loader(std::make_shared<Subset>(std::move(data), chosen), pipeline,
                {.batch_size = count, .threads = 0});
  loader.start(0);
  Batch batch;
  loader.next(batch);
  return batch["image"];
}

Json metrics_json(const std::unique_ptr<Metrics>& test, const std::filesystem::path& checkpoint,
                  const TrainConfig& config, const Progress& progress, double seconds,
                  const monitoring::Journal& journal, std::size_t planned, std::size_t peak) {
  Json metrics;
  metrics["test_accuracy"] = test ? Json(test->score()) : Json();
  metrics["test_loss"] = test ? Json(test->loss()) : Json();
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

int train(Options& options, const CLI::App& app) {
  TrainConfig& config = options.config;
  if (config.out.empty() && !options.plan) throw usage_error("--out is required: a run directory");
  if (options.resume && config.out.empty()) throw usage_error("--resume needs --out: the run");
  if (options.resume) take_stored_options(config, app);
  if (config.data.empty()) throw usage_error("--data is required: a folder of images or IDX files");
  if (config.threads < 0)
    throw usage_error("--threads is {}; it must be 0 or more", config.threads);
  if (config.threads > 0) set_thread_count(static_cast<int>(config.threads));
  const DataSplits data = open(config);
  ResolvedTraining resolved = resolve(config, data);
  const std::unique_ptr<Classifier> model = make_model(resolved.model);
  const Classification task(resolved.model, resolved.loss);
  monitoring::ProgressLine out;
  if (!config.weights.empty() && !options.resume) {
    for (const std::string& sentence : load_weights(*model, config.weights)) out.line(sentence);
  }
  if (!config.freeze.empty()) {
    out.line(fmt::format("frozen: {} parameters", freeze(*model, config.freeze)));
  }
  Trainer trainer(*model, task, data.train, data.validation, resolved.train_pipeline,
                  resolved.test_pipeline, resolved.trainer);
  const MemoryPlan plan = trainer.plan();
  const std::size_t planned = plan.total() + trainer.prefetch_bytes() + trainer.statistics_bytes();
  const double total_flops = trainer.step_flops() * static_cast<double>(trainer.steps_per_epoch()) *
                             static_cast<double>(config.epochs);
  if (options.plan) {
    print_plan(plan, trainer.prefetch_bytes(), trainer.statistics_bytes(), trainer.step_flops(),
               total_flops, config, options.json);
    return 0;
  }
  if (constexpr double kMuch = 2e14; total_flops > kMuch) {  // minutes of a good machine
    out.line(fmt::format("this will take about {} and {} of memory",
                         duration_text(total_flops / measured_flops_per_second()),
                         human(static_cast<double>(planned))));
  }
  const ModelInfo info{resolved.model,
                       data.classes,
                       resolved.test_pipeline,
                       config.loss,
                       config.validation_fraction,
                       config.test_fraction,
                       config.seed};
  const Checkpoints checkpoints(config.out, metadata_of(info), config.keep_checkpoints);
  const std::string run = config.out + "/";
  Progress progress;
  if (options.resume) {
    std::vector<std::string> notices;
    progress = checkpoints.resume(*model, trainer.optimizer(), notices);
    for (const std::string& notice : notices) out.line(notice);
    out.line(fmt::format("continuing at step {} (epoch {})", progress.step, progress.epoch + 1));
  } else {
    if (std::filesystem::exists(checkpoints.file("last"))) {
      throw usage_error("'{}' already holds a training; choose another --out, or --resume it",
                        config.out);
    }
    write_config(config, run + "config.toml");
    checkpoints.save_initial(*model);
  }
  monitoring::Journal journal(
      {.run = config.out,
       .resume = options.resume,
       .tensorboard = config.tensorboard,
       .first_step = progress.step,
       .start = start_of(config, data, trainer),
       .score_name = std::string(task.score_name()),
       .watch_images = config.watch_images,
       .watch_methods = comma_separated(config.watch_methods)},
      *model, info, {resolved.trainer.device, resolved.trainer.kernels},
      probe_images(data.validation ? data.validation : data.train, resolved.test_pipeline), out);
  std::int64_t parameters = 0;
  for (const ParameterRef& p : model->trained_parameters()) parameters += p->value.elements();
  out.line(fmt::format(
      "{} at {}x{}: {} parameters, {:.2f} GFLOP and {} a step; {} training, {} validation and {} "
      "test images of {} classes; lr {}, {} threads",
      config.model, config.image_size, config.image_size, parameters, trainer.step_flops() / 1e9,
      human(static_cast<double>(planned)), data.train->size(),
      data.validation ? data.validation->size() : 0, data.test ? data.test->size() : 0,
      data.classes.size(), config.lr, thread_count()));

  std::signal(SIGINT, interrupt);
  std::signal(SIGTERM, interrupt);
  const Clock::time_point began = Clock::now();
  TrainerEvents events;
  events.stop = [] { return interrupted != 0; };
  events.tick = [&](const Progress& p, double loss) { journal.tick(p, loss); };
  events.step = [&](const StepRecord& r) { journal.step(r); };
  events.statistics = [&](const StatisticsRecord& r) { journal.statistics(r); };
  events.epoch = [&](const EpochRecord& r) { journal.epoch(r); };
  events.save = [&](const Progress& p, bool best, bool epoch_end) {
    checkpoints.save(*model, trainer.optimizer(), p, best, epoch_end);
  };
  Allocator::of(resolved.trainer.device).reset_peak();
  bool finished = false;
  try {
    finished = trainer.run(progress, events);
  } catch (const Error& error) {
    journal.failed(progress, error.what());
    throw;
  }
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
  std::unique_ptr<Metrics> test;
  if (data.test) {
    const LoadedModel best = load_model(config.out, "best");
    test = evaluate(*best.model, task, data.test, resolved.test_pipeline, config.batch_size,
                    static_cast<int>(config.loader_threads),
                    {resolved.trainer.device, resolved.trainer.kernels});
    out.line(fmt::format("test accuracy {:.2f} %, loss {:.4f} (best of {} epochs: {}); {:.0f} s",
                         100 * test->score(), test->loss(), config.epochs, progress.best_epoch,
                         seconds));
  }
  const Json metrics = metrics_json(test, checkpoints.file("best"), config, progress, seconds,
                                    journal, planned, trainer.peak_bytes());
  write_atomically(run + "metrics.json", metrics.dump(2) + "\n");
  if (options.json) fmt::print("{}\n", metrics.dump(2));
  return 0;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  for_each_option(options->config, [&](std::string_view name, auto& value, std::string_view help) {
    app.add_option("--" + std::string(name), value, std::string(help))->capture_default_str();
  });
  app.add_flag("--resume", options->resume, "continue the training in --out");
  app.add_flag("--plan", options->plan, "print what a step needs, and stop");
  app.add_flag("--json", options->json, "print the final metrics as one JSON object");
  return [options, &app] { return train(*options, app); };
}

}  // namespace

const Subcommand kTrain = {"train", "train a classifier on a folder of images or IDX files",
                           "tapescope train --data flowers --model resnet18 --image-size 64 "
                           "--epochs 10 --out runs/flowers",
                           setup};

}  // namespace tapescope::cli
