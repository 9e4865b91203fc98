#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <climits>
#include <cmath>

#include "engine/thread_pool.h"
#include "tools/cli/cli.h"
#include "tools/cli/inspect.h"
#include "tools/cli/near_names.h"
#include "tools/cli/training_run.h"
#include "tools/data/splits.h"
#include "tools/files/atomic_file.h"
#include "tools/training/checkpoint.h"
#include "tools/training/config.h"

namespace tapescope::cli {
namespace {

struct Options {
  TrainConfig config;
  TrainingRequest request;
};

// The options of a run that is resumed are those it was started with. One that is typed again must
// agree, unless it changes no bit of the result.
// With `app` null nothing is typed.
void take_stored_options(TrainConfig& config, const CLI::App* app,
                         const std::string& command = "--resume") {
  const std::filesystem::path path = std::filesystem::path(config.out) / "config.toml";
  if (!std::filesystem::exists(path)) {
    throw usage_error("{0}: '{1}' is no run directory (no config.toml); check the path{2}", command,
                      config.out, app != nullptr ? ", or leave --resume out" : "");
  }
  std::map<std::string, std::string> stored;
  try {
    for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_file(path.string())) {
      if (!item.inputs.empty()) stored[item.name] = item.inputs[0];
    }
  } catch (const CLI::Error& error) {
    throw usage_error("{}: '{}' cannot be read: {}", command, path.string(), error.what());
  }
  stored.try_emplace("exif", name_of(Exif::ignore));  // of older versions
  for_each_option(config, [&](std::string_view option, auto& value, std::string_view) {
    const std::string name(option);
    const bool typed = app != nullptr && app->count("--" + name) > 0;
    const auto it = stored.find(name);
    if (typed && may_change_on_resume(name)) return;
    auto old = std::decay_t<decltype(value)>(value);
    if (it == stored.end()) {
      old = {};  // an empty text is not written
    } else if (!CLI::detail::lexical_cast(it->second, old)) {
      throw usage_error("{}: '{}' has '{}' for {}, which cannot be understood", command,
                        path.string(), it->second, name);
    }
    if (typed && old != value) {
      throw usage_error(
          "--resume: the run has {} = {}, not {}; leave --{} out, or start another "
          "run with another --out{}",
          name, old, value, name,
          name == "epochs"
              ? fmt::format(" that goes on from it: --weights {}/checkpoints/last.safetensors",
                            config.out)
              : "");
    }
    if (it != stored.end()) value = old;
  });
}

// What the run that is resumed says of its data.
std::optional<ModelInfo> resumed_info(const TrainConfig& config) {
  const std::filesystem::path last =
      std::filesystem::path(config.out) / "checkpoints/last.safetensors";
  if (!std::filesystem::exists(last)) return {};  // resuming will say so
  return read_model_info(config.out, "last");
}

DataSplits open(const Options& command, const std::optional<ModelInfo>& resumed) {
  const TrainConfig& config = command.config;
  device_from_name(config.device);  // before the data is read: a missing device is soon told
  DataOptions options;
  if (resumed) options = data_options_of(*resumed, "train");
  options.resume = resumed.has_value();
  options.skip_advised = true;
  options.validation_fraction = config.validation_fraction;
  options.test_fraction = config.test_fraction;
  options.limit = config.limit;
  options.seed = config.seed;
  options.on_bad_image = config.on_bad_image == "skip" ? BadImage::skip : BadImage::fail;
  options.exif = exif_from_name(config.exif);
  DataSplits data = open_data(config.data, options);
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", notice);
  for (const std::string& bad : data.bad_images) fmt::print(stderr, "left out: {}\n", bad);
  if (!data.changes.empty()) {
    const std::string changes = fmt::format("{}", fmt::join(data.changes, "; "));
    if (command.request.data_changed != "accept") {
      throw usage_error(
          "--resume: '{}' is not as the training left it: {}; bring it back, or go on with what "
          "is there with --data-changed accept",
          config.data, changes);
    }
    fmt::print(stderr, "the data changed since the training began: {}\n", changes);
  }
  if (data.train == nullptr) {
    throw usage_error(
        "'{}' has no training pictures; a folder `train` with a folder a class in it is needed (of "
        "IDX: train-images-idx3-ubyte and train-labels-idx1-ubyte){}",
        config.data, deeper_hint(config.data));
  }
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

int train(Options& options, const CLI::App* app) {
  TrainConfig& config = options.config;
  if (config.out.empty() && !options.request.plan) {
    throw usage_error(
        "--out is required: the run directory to write, for instance --out runs/{}",
        config.data.empty()
            ? "first"
            : (std::filesystem::path(config.data) / "").parent_path().filename().string());
  }
  if (options.request.resume && config.out.empty()) {
    throw usage_error("--resume needs --out: the run");
  }
  if (!options.request.resume && app != nullptr && app->count("--data-changed") > 0) {
    throw usage_error("--data-changed is of --resume: a new training takes the data as it is");
  }
  if (options.request.resume) take_stored_options(config, app);
  if (config.data.empty()) throw usage_error("--data is required: a folder of images or IDX files");
  if (config.threads < 0)
    throw usage_error("--threads is {}; it must be 0 or more", config.threads);
  if (config.threads > 0) {
    set_thread_count(static_cast<int>(std::min<std::int64_t>(config.threads, INT_MAX)));
  }
  expect_no_slip("model", config.model, model_names(), "`--help` tells all");
  const std::unique_ptr<FolderLock> lock = options.request.plan ? nullptr : lock_run(config.out);
  if (config.model == "centre-detector") {
    return train_detector(config, options.request);
  }
  const std::optional<ModelInfo> resumed =
      options.request.resume ? resumed_info(config) : std::optional<ModelInfo>();
  const DataSplits data = open(options, resumed);
  ResolvedTraining resolved = resolve(config, data);
  const std::unique_ptr<Classifier> model = make_model(resolved.model);
  const Classification task(resolved.model, resolved.loss);
  monitoring::ProgressLine out;
  for (const std::string& notice : resolved.notices) out.line(notice);
  if (!config.weights.empty() && !options.request.resume) {
    for (const std::string& sentence : load_weights(*model, config.weights)) out.line(sentence);
  }
  if (!config.freeze.empty()) {
    out.line(fmt::format("frozen: {} parameters", freeze(*model, config.freeze)));
  }
  Trainer trainer(*model, task, data.train, data.validation, resolved.train_pipeline,
                  resolved.test_pipeline, resolved.trainer);
  const ModelInfo info{resolved.model,
                       data.classes,
                       resolved.test_pipeline,
                       config.loss,
                       config.validation_fraction,
                       config.test_fraction,
                       config.seed,
                       resumed ? resumed->draw : Draw::content,
                       config.on_bad_image == "skip" ? BadImage::skip : BadImage::fail,
                       {},
                       exif_from_name(config.exif)};
  const Backend backend{resolved.trainer.device, resolved.trainer.kernels};
  TrainingRun run{.config = config,
                  .resume = options.request.resume,
                  .plan = options.request.plan,
                  .json = options.request.json,
                  .model = *model,
                  .trainer = trainer,
                  .device = resolved.trainer.device,
                  .metadata = metadata_of(info),
                  .start = start_of(config, data, trainer)};
  run.start.score = task.score_name();
  run.images_sentence =
      fmt::format("{} training, {} validation and {} test images of {} classes", data.train->size(),
                  data.validation ? data.validation->size() : 0, data.test ? data.test->size() : 0,
                  data.classes.size());
  run.begin = [&] {
    write_atomically(std::filesystem::path(config.out) / "split.tsv", record_of(data).text());
  };
  run.training_images = data.train->size();
  if (!options.request.plan) {
    run.probe = std::make_unique<inspection::PulseProbe>(record_of(*model),
                                                         image_shape_of(resolved.model), backend);
    run.probe_images = probe_images(
        ImageSource(data.validation ? data.validation : data.train, resolved.test_pipeline));
    if (!config.watch_images.empty()) {
      run.watch = std::make_unique<monitoring::Watch>(config.watch_images,
                                                      comma_separated(config.watch_methods), *model,
                                                      info, backend, config.out);
    }
  }
  run.test = [&]() -> TestResult {
    if (!data.test) {
      return {{{"test_accuracy", std::nan("")}, {"test_loss", std::nan("")}},
              "no test pictures: a folder `test` holds them, or --test-fraction sets some aside"};
    }
    const LoadedModel best = load_model(config.out, "best", {.allow_non_finite = true});
    const std::unique_ptr<Metrics> test =
        evaluate(*best.model, task, data.test, resolved.test_pipeline, config.batch_size,
                 static_cast<int>(config.loader_threads), backend);
    return {{{"test_accuracy", test->score()}, {"test_loss", test->loss()}},
            fmt::format("test accuracy {:.2f} %, loss {:.4f}", 100 * test->score(), test->loss())};
  };
  return options.request.use ? options.request.use(run) : run_training(std::move(run), out);
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  for_each_option(options->config, [&](std::string_view name, auto& value, std::string_view help) {
    // `train FOLDER` as well.
    app.add_option("--" + std::string(name) + (name == "data" ? ",folder" : ""), value,
                   std::string(help))
        ->capture_default_str();
  });
  app.add_flag("--resume", options->request.resume, "continue the training in --out");
  app.add_option("--data-changed", options->request.data_changed,
                 "with --resume, where the data is not as the training left it: refuse, or accept "
                 "to go on with what is there")
      ->capture_default_str()
      ->check(CLI::IsMember({"refuse", "accept"}));
  app.add_flag("--plan", options->request.plan, "print what a step needs, and stop");
  app.add_flag("--json", options->request.json, "print the final metrics as one JSON object");
  add_allow_outside(app, options->request.allow_outside);
  return [options, &app] { return train(*options, &app); };
}

}  // namespace

TrainConfig stored_config(const std::filesystem::path& run, const std::string& command) {
  TrainConfig config;
  config.out = run.string();
  take_stored_options(config, nullptr, command);
  return config;
}

int prepare_training(TrainConfig config, const UseOfRun& use) {
  Options options{std::move(config), {.plan = true, .use = use}};
  return train(options, nullptr);
}

const Subcommand kTrain = {"train", "train a classifier on a folder of images or IDX files",
                           "tapescope train --data flowers --model resnet18 --image-size 64 "
                           "--epochs 10 --out runs/flowers",
                           setup};

}  // namespace tapescope::cli
