#include "tools/tasks/classification/classifier_training.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "tools/data/splits.h"
#include "tools/files/atomic_file.h"
#include "tools/files/text.h"
#include "tools/tasks/classification/class_explainer.h"

namespace tapescope::tasks {
namespace {

// The best checkpoint on the test split.
TestResult test(const ClassifierParts& parts, const std::shared_ptr<const SampleSource>& pictures,
                const TrainerOptions& options, const std::string& run) {
  if (!pictures) {
    return {{{parts.score_key, std::nan("")}, {"test_loss", std::nan("")}},
            "no test pictures: a folder `test` holds them, or --test-fraction sets some aside"};
  }
  const LoadedModel best = load_model(run, "best", {.allow_non_finite = true});
  const std::unique_ptr<Task> task = parts.task(best.info.config);
  const std::unique_ptr<Metrics> metrics =
      evaluate(*best.model, *task, pictures, options.batch_size, options.loader_threads,
               {options.device, options.kernels});
  return {{{parts.score_key, metrics->score()}, {"test_loss", metrics->loss()}},
          fmt::format("test {} {:.2f} %, loss {:.4f}", task->score_name(), 100 * metrics->score(),
                      metrics->loss())};
}

}  // namespace

std::optional<ModelInfo> resumed_info(const TrainConfig& config, const TrainingRequest& request) {
  if (!goes_on(config, request)) return {};
  return read_model_info(config.out, "last");
}

std::shared_ptr<OnnxStart> onnx_start(const TrainConfig& config,
                                      const std::optional<ModelInfo>& resumed) {
  if (resumed || !onnx::names_onnx(config.model)) return nullptr;
  return std::make_shared<OnnxStart>(
      read_onnx_start(config.model, config.allow_outside, config.out));
}

DataOptions training_data_options(const TrainConfig& config,
                                  const std::optional<ModelInfo>& resumed, const OnnxStart* start) {
  DataOptions options;
  if (resumed) options = data_options_of(*resumed, "train");
  if (start != nullptr) options.channels = static_cast<int>(start->channels);
  options.resume = resumed.has_value();
  options.validation_fraction = config.validation_fraction;
  options.test_fraction = config.test_fraction;
  options.limit = config.limit;
  options.seed = config.seed;
  options.on_bad_image = bad_image_from(config.on_bad_image);
  options.exif = exif_from_name(config.exif);
  options.cache_decoded = config.cache == "none";  // else sources keep what comes of them
  return options;
}

void tell_data(const DataSplits& data, const TrainConfig& config, const TrainingRequest& request) {
  for (const std::string& notice : data.notices) fmt::print(stderr, "{}\n", printable(notice));
  for (const std::string& bad : data.bad_images) {
    fmt::print(stderr, "left out: {}\n", printable(bad));
  }
  expect_accepted(data.changes, config, request);
}

namespace {

// What is kept of all pictures, as of the first.
std::int64_t kept_bytes(const Dataset* data, const Pipeline& pipeline) {
  if (data == nullptr) return 0;
  const ImageSize size = data->image_size(0);
  return data->size() * pipeline.fixed_shape(size.height, size.width, data->channels()).elements();
}

// The net that is trained: of the zoo, of an ONNX file, or of the run that is resumed. Of a file's
// `graph` is what the run keeps of it.
std::unique_ptr<Classifier> net_of(const TrainConfig& config,
                                   const std::optional<ModelInfo>& resumed,
                                   const ClassifierParts& parts, ModelInfo& info,
                                   std::string& graph, std::vector<std::string>& notices) {
  if (resumed && !resumed->graph.empty()) {  // its values are read where the training goes on
    info.config.name = resumed->config.name;
    info.graph = resumed->graph;
    ModelConfig empty = resumed->config;
    empty.room = std::make_shared<std::int64_t>(std::numeric_limits<std::int32_t>::max());
    return net_of_run(graph_path(config.out), info.graph, empty);
  }
  if (!parts.start) return make_model(info.config);
  info.config.name = std::filesystem::path(config.model).filename().string();
  OnnxStart::Net net = parts.start->net(info.config, notices);
  graph = std::move(net.file);
  info.graph = graph_hash(graph);
  notices.push_back(parts.start->batch_norm
                        ? "its batch norms keep the statistics that they have"
                        : "no batch norm is left in it (exporters fold it into the layers before): "
                          "where --lr is not given, a small one is taken");
  return std::move(net.model);
}

}  // namespace

TrainingSetup classifier_setup(const TrainConfig& config, const ResolvedTraining& resolved,
                               const std::optional<ModelInfo>& resumed,
                               const ClassifierParts& parts) {
  const DataSplits& data = *parts.data;
  TrainingSetup setup;
  setup.notices = resolved.notices;
  ModelInfo info{resolved.model,
                 parts.classes,
                 resolved.test_pipeline,
                 parts.loss,
                 config.validation_fraction,
                 config.test_fraction,
                 config.seed,
                 resumed ? resumed->draw : Draw::content,
                 bad_image_from(config.on_bad_image),
                 {},
                 exif_from_name(config.exif)};
  std::string graph;  // what RUN/model.onnx will be
  std::unique_ptr<Classifier> model = net_of(config, resumed, parts, info, graph, setup.notices);
  const auto source = [&](const std::shared_ptr<const Dataset>& split, const Pipeline& pipeline,
                          const std::shared_ptr<PictureRoom>& room = nullptr) {
    return split ? parts.source(split, pipeline, room) : nullptr;
  };
  const std::shared_ptr<PictureRoom> room = picture_room(config);
  setup.train = source(data.train, resolved.train_pipeline, room);
  setup.validation = source(data.validation, resolved.test_pipeline, room);
  if (room) {
    setup.notices.push_back(
        room_sentence(config, *room,
                      kept_bytes(data.train.get(), resolved.train_pipeline) +
                          kept_bytes(data.validation.get(), resolved.test_pipeline)));
  }
  setup.probed = source(data.validation ? data.validation : data.train, resolved.test_pipeline);
  setup.options = resolved.trainer;
  setup.image = info.preprocess().image;
  setup.metadata = metadata_of(info);
  setup.loss = parts.loss;
  setup.classes = parts.classes;
  setup.per_class.assign(parts.classes.size(), 0);
  for (std::int64_t i = 0; i < data.train->size(); ++i) {
    for (std::int64_t c : parts.classes_of(i)) ++setup.per_class[static_cast<std::size_t>(c)];
  }
  setup.images_sentence =
      fmt::format("{} training, {} validation and {} test images {}", data.train->size(),
                  data.validation ? data.validation->size() : 0, data.test ? data.test->size() : 0,
                  fmt::format(fmt::runtime(parts.of_classes), parts.classes.size()));
  setup.begin = [splits = parts.data, graph, run = std::filesystem::path(config.out)] {
    if (!graph.empty()) write_atomically(graph_path(run), graph);
    write_atomically(run / "split.tsv", record_of(*splits).text());
  };
  setup.watched =
      ClassLogits{logits_of(*model), info.preprocess(), info.classes, parts.probabilities};
  setup.test = [parts, pictures = source(data.test, resolved.test_pipeline),
                options = resolved.trainer,
                run = config.out] { return test(parts, pictures, options, run); };
  setup.task = parts.task(info.config);
  setup.model = std::move(model);
  return setup;
}

}  // namespace tapescope::tasks
