// `tapescope verify-run`: are the first steps of a run what they were?
#include <nlohmann/json.hpp>

#include "engine/thread_pool.h"
#include "tools/cli/cli.h"
#include "tools/data/shards.h"
#include "tools/data/split_record.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/tasks/training.h"
#include "tools/training/checkpoint.h"
#include "tools/training/environment.h"
#include "tools/training/onnx_start.h"
#include "tools/training/stored_config.h"

namespace tapescope::cli {
namespace {

using Json = nlohmann::ordered_json;

struct VerifyRunArguments {
  std::string run;
  std::int64_t steps = kRecordedSteps, threads = 0;
  bool json = false;
};

struct Verdict {
  std::int64_t compared = 0;             // steps that were taken again
  std::int64_t first = 0;                // the first that differs; 0: none
  std::string what;                      // how it differs
  std::vector<std::string> differences;  // between then and now
};

// The values before the first step are those that the run kept. A difference is told where they
// were drawn, and not of a file (--weights), which may be gone.
void use_initial_values(Module& model, const std::filesystem::path& run, bool drawn,
                        Verdict& verdict) {
  SafetensorsFile file(checkpoint_path(run, "initial"));
  std::int64_t differing = 0;
  for (const ParameterRef& parameter : model.parameters()) {
    const SafetensorsFile::Entry* entry = file.find(parameter->name);
    if (entry == nullptr) continue;  // load_exactly will say so
    const Tensor kept = moved_axes(file.read(*entry), false), now = parameter->value.host();
    differing +=
        kept.type() != now.type() || std::memcmp(kept.data(), now.data(), now.bytes()) != 0;
  }
  if (differing == 0) return;
  if (drawn) {
    verdict.differences.push_back(
        fmt::format("initial values: {} tensors are not as they are drawn now in "
                    "checkpoints/initial.safetensors, which was taken",
                    differing));
  }
  load_exactly(model, file, "this run's model", {.allow_non_finite = true});
}

// Takes the steps again; ends at the first that differs.
void replay(tasks::PreparedTraining& run, const Environment& then, std::int64_t steps,
            Verdict& verdict) {
  Environment::Step now;
  TrainerEvents events;
  events.batch = [&](const Batch& batch) { now.inputs = hash_of(batch); };
  events.tick = [&](const Progress& progress, double loss, const std::vector<NamedNumber>&) {
    now.loss = loss_bits(loss);
    const Environment::Step& before = then.steps[static_cast<std::size_t>(progress.step - 1)];
    verdict.compared = progress.step;
    if (now == before) return;
    verdict.first = progress.step;
    verdict.what =
        now.inputs != before.inputs
            ? "its pictures, as the model is given them, are not those of the run: the data, what "
              "prepares it or an option changed"
            : fmt::format(
                  "its loss is {:.9g} (bits {:08x}), in the run it was {:.9g} (bits {:08x})",
                  __builtin_bit_cast(float, now.loss), now.loss,
                  __builtin_bit_cast(float, before.loss), before.loss);
  };
  events.stop = [&] { return verdict.first != 0 || verdict.compared >= steps; };
  Progress progress;
  try {
    run.trainer.run(progress, events);
  } catch (const Error& error) {
    if (error.blame() == Blame::usage) throw;
    verdict.first = progress.step + 1;
    verdict.what = error.what();
  }
}

// Which files of the record of splits are not as they were, by their size and the time of their
// last change.
std::vector<std::string> changed_files(const std::filesystem::path& run,
                                       const std::filesystem::path& data) {
  constexpr std::size_t kShown = 3;
  std::vector<std::string> changes;
  std::size_t count = 0;
  const auto told = [&](const std::string& name, const std::string& how) {
    if (++count <= kShown) changes.push_back(fmt::format("data: {} {}", printable(name), how));
  };
  if (!std::filesystem::exists(run / "split.tsv")) return changes;
  const std::filesystem::path root = root_of(data);
  std::string shard;
  for (const RecordedPicture& picture : SplitRecord::read(run / "split.tsv").pictures) {
    if (picture.name.ends_with(']')) continue;  // in an IDX file
    const std::string file = file_of(picture.name);
    const bool whole = file == picture.name;
    if (!whole && std::exchange(shard, file) == file) continue;  // it was looked at
    const FileStamp now = stamp_of(root / file);
    if (now.bytes < 0) {
      told(file, "is gone");
    } else if (whole && picture.content.bytes != now.bytes) {
      told(file, fmt::format("has {} bytes, it had {}", now.bytes, picture.content.bytes));
    } else if (picture.content.time != 0 && picture.content.time != now.time) {
      told(file, "was written since");
    }
  }
  if (count > kShown) changes.push_back(fmt::format("data: {} more files", count - kShown));
  return changes;
}

void print(const VerifyRunArguments& options, const Verdict& verdict) {
  if (options.json) {
    Json json = {{"equal", verdict.first == 0}, {"steps", verdict.compared}};
    json["first_difference"] =
        verdict.first == 0 ? Json() : Json{{"step", verdict.first}, {"what", verdict.what}};
    json["differences"] = verdict.differences;
    fmt::print("{}\n", json_text(json, 2));
    return;
  }
  if (verdict.first == 0) {
    fmt::print("equal: {} steps were taken again, and every loss is that of the run, bit for bit\n",
               verdict.compared);
  } else {
    fmt::print("different at step {}: {}\n", verdict.first, verdict.what);
  }
  for (const std::string& difference : verdict.differences) fmt::print("  {}\n", difference);
  if (verdict.first != 0 && verdict.differences.empty()) {
    fmt::print(
        "  options, build, libraries, instruction set, device and threads are as they were\n");
  }
}

int run(const VerifyRunArguments& options) {
  if (options.run.empty()) throw usage_error("no run is named: verify-run RUN");
  const Environment then = read_environment(options.run);
  TrainConfig config;
  config.out = options.run;
  take_stored_options(config, {}, "verify-run");
  const auto steps = std::min(options.steps, static_cast<std::int64_t>(then.steps.size()));
  if (steps == 0) {
    throw usage_error("'{}' has no recorded steps: the training ended before its first one",
                      printable(options.run));
  }
  if (steps < options.steps && !options.json)
    fmt::print(stderr, "the run has a record of its first {} steps\n", steps);
  // What changes no bit and takes time, or writes into the run.
  config.statistics_every = 0;
  config.watch_images = "";
  const bool drawn = config.weights.empty() && !onnx::names_onnx(config.model);
  config.weights = "";
  if (onnx::names_onnx(config.model)) config.model = graph_path(options.run).string();
  config.threads = options.threads != 0 ? options.threads : config.threads;
  config.fast_all_reduce = false;  // one process adds in the tree's order
  const TrainConfig as_stored = config;
  if (config.threads > 0) set_thread_count(static_cast<int>(config.threads));
  monitoring::ProgressLine out;
  const auto training = tasks::prepare_training(config, {}, out);
  Verdict verdict;
  verdict.differences =
      differences(then, environment_of(as_stored, training->setup.options.device));
  use_initial_values(*training->setup.model, options.run, drawn, verdict);
  replay(*training, then, steps, verdict);
  if (verdict.first != 0) {
    for (std::string& change : changed_files(options.run, config.data)) {
      verdict.differences.push_back(std::move(change));
    }
  }
  print(options, verdict);
  return verdict.first == 0 ? 0 : 1;
}

std::function<int()> setup_verify_run(CommandLine& line) {
  auto options = std::make_shared<VerifyRunArguments>();
  line.option("run,--run", options->run, "run directory of `tapescope train`");
  line.option("--steps", options->steps, "how many steps to take again")
      .show_default()
      .range(1, static_cast<int>(kRecordedSteps));
  line.option("--threads", options->threads, "threads of the engine; 0: as in the run")
      .range(0, 1024);
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kVerifyRun = {
    "verify-run",
    "take a run's first steps again: are the losses the same, bit for bit, and if not, why",
    "tapescope verify-run runs/flowers", setup_verify_run};

}  // namespace tapescope::cli
