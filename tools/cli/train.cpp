#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/allocator.h"
#include "engine/thread_pool.h"
#include "tools/cli/cli.h"
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

// A line that a terminal overwrites; elsewhere plain lines, and only the rarer ones.
class ProgressLine {
 public:
  ProgressLine() : terminal_(isatty(STDERR_FILENO) != 0) {}
  void update(const std::string& text) {
    if (!terminal_) return;
    fmt::print(stderr, "\r\033[K{}", text);
    std::fflush(stderr);
  }
  void line(const std::string& text) {
    fmt::print(stderr, "{}{}\n", terminal_ ? "\r\033[K" : "", text);
  }

 private:
  bool terminal_;
};

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

// Lines of steps after the checkpoint would be written twice.
void cut_history(const std::string& path, std::int64_t step) {
  std::ifstream file(path);
  std::string kept;
  for (std::string line; std::getline(file, line);) {
    const Json json = Json::parse(line, nullptr, false);
    if (json.is_object() && json.value("step", step + 1) <= step) kept += line + "\n";
  }
  write_atomically(path, kept);
}

// Appends lines to RUN/history.jsonl.
class History {
 public:
  History(const std::string& path, bool append)
      : file_(path, append ? std::ios::app : std::ios::trunc) {}
  void write(const Json& line) { file_ << line.dump() << std::endl; }

 private:
  std::ofstream file_;
};

void print_plan(const MemoryPlan& plan, std::size_t prefetch, double flops, double total_flops,
                const TrainConfig& config, bool json) {
  const std::size_t total = plan.total() + prefetch;
  if (json) {
    fmt::print("{}\n", Json{{"arena_bytes", plan.arena},
                            {"arena_lower_bound_bytes", plan.lower_bound},
                            {"without_sharing_bytes", plan.unpacked},
                            {"parameter_bytes", plan.parameters},
                            {"input_bytes", plan.inputs},
                            {"prefetch_bytes", prefetch},
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

Json metrics_json(const std::unique_ptr<Metrics>& test, const std::filesystem::path& checkpoint,
                  const TrainConfig& config, const Progress& progress, double seconds,
                  double images_per_second, double data_wait, std::size_t planned,
                  std::size_t peak) {
  Json metrics;
  metrics["test_accuracy"] = test ? Json(test->score()) : Json();
  metrics["test_loss"] = test ? Json(test->loss()) : Json();
  metrics["checkpoint"] = checkpoint.string();
  metrics["epochs"] = config.epochs;
  metrics["best_epoch"] = progress.best_epoch;
  metrics["best_validation_score"] = progress.best_score;
  metrics["seconds"] = seconds;
  metrics["images_per_second"] = images_per_second;
  metrics["seconds_data_wait"] = data_wait;
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
  ProgressLine out;
  if (!config.weights.empty() && !options.resume) {
    for (const std::string& sentence : load_weights(*model, config.weights)) out.line(sentence);
  }
  if (!config.freeze.empty()) {
    out.line(fmt::format("frozen: {} parameters", freeze(*model, config.freeze)));
  }
  Trainer trainer(*model, task, data.train, data.validation, resolved.train_pipeline,
                  resolved.test_pipeline, resolved.trainer);
  const MemoryPlan plan = trainer.plan();
  const std::size_t planned = plan.total() + trainer.prefetch_bytes();
  const double total_flops = trainer.step_flops() * static_cast<double>(trainer.steps_per_epoch()) *
                             static_cast<double>(config.epochs);
  if (options.plan) {
    print_plan(plan, trainer.prefetch_bytes(), trainer.step_flops(), total_flops, config,
               options.json);
    return 0;
  }
  if (constexpr double kMuch = 2e14; total_flops > kMuch) {  // minutes of a good machine
    out.line(fmt::format("this will take about {} and {} of memory",
                         duration_text(total_flops / measured_flops_per_second()),
                         human(static_cast<double>(planned))));
  }
  const Checkpoints checkpoints(config.out,
                                {resolved.model, data.classes, resolved.test_pipeline, config.loss,
                                 config.validation_fraction, config.test_fraction, config.seed},
                                config.keep_checkpoints);
  const std::string run = config.out + "/";
  Progress progress;
  if (options.resume) {
    std::vector<std::string> notices;
    progress = checkpoints.resume(*model, trainer.optimizer(), notices);
    for (const std::string& notice : notices) out.line(notice);
    cut_history(run + "history.jsonl", progress.step);
    out.line(fmt::format("continuing at step {} (epoch {})", progress.step, progress.epoch + 1));
  } else {
    if (std::filesystem::exists(checkpoints.file("last"))) {
      throw usage_error("'{}' already holds a training; choose another --out, or --resume it",
                        config.out);
    }
    write_config(config, run + "config.toml");
    checkpoints.save_initial(*model);
  }
  History history(run + "history.jsonl", options.resume);
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
  const std::int64_t total_steps = trainer.steps_per_epoch() * config.epochs;
  const std::int64_t first_step = progress.step;
  double training_seconds = 0, images = 0, data_wait = 0;
  TrainerEvents events;
  events.stop = [] { return interrupted != 0; };
  events.step = [&](const StepRecord& r) {
    history.write({{"step", r.step},
                   {"epoch", r.epoch},
                   {"loss", r.loss},
                   {"learning_rate", r.learning_rate},
                   {"gradient_norm", r.gradient_norm},
                   {"images_per_second", r.images_per_second}});
    const double elapsed = std::chrono::duration<double>(Clock::now() - began).count();
    const double left = elapsed /
                        static_cast<double>(std::max<std::int64_t>(1, r.step - first_step)) *
                        static_cast<double>(total_steps - r.step);
    out.update(fmt::format("epoch {}/{} step {}/{}  loss {:.4f}  {:.0f} images/s  {:.0f} s left",
                           r.epoch, config.epochs, r.step, total_steps, r.loss, r.images_per_second,
                           left));
  };
  events.epoch = [&](const EpochRecord& r) {
    Json line = {{"epoch", r.epoch}, {"step", r.step}, {"train_loss", r.train_loss}};
    std::string text =
        fmt::format("epoch {}/{}  loss {:.4f}", r.epoch, config.epochs, r.train_loss);
    if (r.validated) {
      line["validation_loss"] = r.validation_loss;
      line["validation_accuracy"] = r.validation_score;
      text += fmt::format("  validation loss {:.4f} accuracy {:.2f} %{}", r.validation_loss,
                          100 * r.validation_score, r.best ? " (best)" : "");
    }
    line["seconds"] = r.seconds;
    line["images_per_second"] = r.images_per_second;
    line["seconds_data_wait"] = r.data_wait_seconds;
    history.write(line);
    out.line(text + fmt::format("  {:.0f} images/s  {:.1f} s", r.images_per_second, r.seconds));
    training_seconds += r.seconds;
    images += r.images_per_second * r.seconds;
    data_wait += r.data_wait_seconds;
  };
  events.save = [&](const Progress& p, bool best, bool epoch_end) {
    checkpoints.save(*model, trainer.optimizer(), p, best, epoch_end);
  };
  Allocator::of(resolved.trainer.device).reset_peak();
  const bool finished = trainer.run(progress, events);
  if (!finished) {
    out.line(
        fmt::format("stopped at step {}, the state is saved; tapescope train --resume --out {} "
                    "goes on from here",
                    progress.step, config.out));
    return 130;
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
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
                                    training_seconds > 0 ? images / training_seconds : 0, data_wait,
                                    planned, trainer.peak_bytes());
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
