#include <fmt/ranges.h>

#include <climits>

#include "engine/thread_pool.h"
#include "kernels/collectives/launched.h"
#include "kernels/collectives/world.h"
#include "tools/cli/cli.h"
#include "tools/cli/process.h"
#include "tools/files/near_names.h"
#include "tools/tasks/kit.h"
#include "tools/tasks/training.h"
#include "tools/training/ranks.h"
#include "tools/training/shared_batch.h"
#include "tools/training/stored_config.h"

namespace tapescope::cli {
namespace {

struct TrainArguments {
  TrainConfig config;
  tasks::TrainingRequest request;
  bool plan = false, json = false;
};

void expect_complete(const TrainArguments& options, const CommandLine& line) {
  const TrainConfig& config = options.config;
  if (config.out.empty() && !options.plan) {
    throw usage_error(
        "--out is required: the run directory to write, for instance --out runs/{}",
        config.data.empty()
            ? "first"
            : (std::filesystem::path(config.data) / "").parent_path().filename().string());
  }
  if (options.request.resume && config.out.empty()) {
    throw usage_error("--resume needs --out: the run");
  }
  if (!options.request.resume && line.given("--data-changed")) {
    throw usage_error("--data-changed is of --resume: a new training takes the data as it is");
  }
}

// Where the training in `out` can go on.
std::string last_checkpoint(const std::string& out) {
  const std::filesystem::path last = std::filesystem::path(out) / "checkpoints/last.safetensors";
  return std::filesystem::exists(last) ? last.string() : "";
}

// This process's end of the ranks that share the training; null where it is the only one.
std::unique_ptr<Communicator> join_ranks(TrainConfig& config, const CommandLine& line) {
  std::unique_ptr<Communicator> ranks = join_world({.transport = config.transport,
                                                    .rank_timeout = config.rank_timeout,
                                                    .fast_all_reduce = config.fast_all_reduce});
  const int found = ranks != nullptr ? ranks->size() : 1;
  if (line.given("--ranks") && config.ranks != found) {
    throw usage_error(
        "--ranks {} starts as many processes on this machine, but {} were started already; leave "
        "it out",
        config.ranks, found);
  }
  const std::string_view by = ranks != nullptr ? ranks->transport() : "";
  if (line.given("--fast-all-reduce") && config.fast_all_reduce && by != "nccl") {
    throw usage_error(
        "--fast-all-reduce is of processes that speak through nccl{}; leave it out, or start "
        "several with --transport nccl",
        by.empty() ? ", and this is a single one" : fmt::format(", and these use {}", by));
  }
  config.fast_all_reduce = config.fast_all_reduce && by == "nccl";
  config.ranks = found;
  return ranks;
}

// The exit status after an error that all ranks meet: the first one tells of it, before the others
// end, and mpirun ends all with the first that does. Our launcher may listen to any.
int end_of_all(bool first, const Error& error) {
  if (first || watched_by_launcher()) return tell_error();
  return error.blame() == Blame::usage ? 2 : 1;
}

int train(TrainArguments& options, const CommandLine& line) {
  TrainConfig& config = options.config;
  expect_complete(options, line);
  if (options.request.resume) take_stored_options(config, line.all_given(), "--resume");
  if (config.data.empty())
    throw usage_error("--data is required: a folder of images, shards or IDX files");
  if (config.threads < 0) {
    throw usage_error("--threads is {}; it must be 0 or more", config.threads);
  }
  // A run goes on with any number, by any way.
  if (!line.given("--ranks")) config.ranks = 1;
  if (!line.given("--transport")) config.transport = "auto";
  if (config.ranks < 1) throw usage_error("--ranks is {}; it must be 1 or more", config.ranks);
  if (config.ranks > 1 && !options.plan && launched().ranks == 1) {
    return run_ranks({.ranks = static_cast<int>(std::min<std::int64_t>(config.ranks, INT_MAX)),
                      .last_checkpoint = [&] { return last_checkpoint(config.out); }});
  }
  const std::unique_ptr<Communicator> ranks = options.plan ? nullptr : join_ranks(config, line);
  const bool first = ranks == nullptr || ranks->rank() == 0;
  options.request.ranks = ranks.get();
  options.request.measure = !options.plan;
  if (config.threads > 0) {
    set_thread_count(static_cast<int>(std::min<std::int64_t>(config.threads, INT_MAX)));
  }
  expect_no_slip("model", config.model, tasks::model_names(), "`--help` tells all");
  const std::unique_ptr<FolderLock> lock =
      options.plan || !first ? nullptr : tasks::lock_run(config.out);
  if (ranks != nullptr) ranks->barrier();  // the run's folder is there
  monitoring::ProgressLine out(!first);
  std::unique_ptr<tasks::PreparedTraining> training;
  try {
    training = tasks::prepare_training(config, options.request, out);
  } catch (const Error& error) {
    if (!same_on_all(ranks.get(), error.what())) throw;
    return end_of_all(first, error);
  }
  same_on_all(ranks.get(), "");  // to those who ask
  if (options.plan) {
    const tasks::TrainingPlan plan = tasks::plan_of(*training);
    return print({plan.text, plan.json}, options.json);
  }
  catch_interrupts();
  const tasks::TrainingEnd end =
      tasks::run_training(*training, options.request.resume, interrupted, out);
  if (options.json && !end.metrics.empty()) fmt::print("{}\n", end.metrics);
  return end.status;
}

std::function<int()> setup_train(CommandLine& line) {
  auto options = std::make_shared<TrainArguments>();
  for_each_option(options->config, [&](std::string_view name, auto& value, std::string_view help) {
    if constexpr (std::is_same_v<decltype(value), bool&>) {
      // Flags; the first as every subcommand that opens data has it.
      if (name == "allow-outside" || name == "fast-all-reduce") {
        line.flag("--" + std::string(name), value, std::string(help));
        return;
      }
    }
    std::string text(help);
    if (name == "model") text += fmt::format(": {}", fmt::join(tasks::model_names(), ", "));
    // `train FOLDER` as well.
    line.option("--" + std::string(name) + (name == "data" ? ",folder" : ""), value, text)
        .show_default();
  });
  line.flag("--resume", options->request.resume, "continue the training in --out");
  line.option("--data-changed", options->request.data_changed,
              "with --resume, where the data is not as the training left it: refuse, or accept "
              "to go on with what is there")
      .show_default()
      .one_of({"refuse", "accept"});
  line.option("--profile", options->request.profile,
              "steps to look at: where their time went is told after them, and kept in "
              "RUN/profile.json and RUN/profile.trace.json (ui.perfetto.dev)")
      .range(0, 1000);
  line.flag("--plan", options->plan, "print what a step needs, and stop");
  line.flag("--json", options->json, "print the final metrics as one JSON object");
  return [options, line] { return train(*options, line); };
}

}  // namespace

const Subcommand kTrain = {"train", "train a classifier on a folder of images, shards or IDX files",
                           "tapescope train --data flowers --model resnet18 --image-size 64 "
                           "--epochs 10 --out runs/flowers\n"
                           "  tapescope train --data flowers --model resnet18 --image-size 64 "
                           "--kernel measured --out runs/measured",
                           setup_train};

}  // namespace tapescope::cli
