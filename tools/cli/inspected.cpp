#include "tools/cli/inspected.h"

#include <CLI/CLI.hpp>

#include "layers/models/zoo.h"
#include "tools/cli/detector_commands.h"
#include "tools/cli/near_names.h"
#include "tools/detection/detection_task.h"

namespace tapescope::cli {
namespace {

using namespace detection;

constexpr const char* kDetector = "centre-detector";

// And how much of the split is looked at, where that is not all of it.
std::vector<std::string> with_share(std::vector<std::string> notices, std::int64_t looked_at,
                                    std::int64_t all, const std::string& split) {
  if (looked_at < all) {
    notices.push_back(fmt::format("{} of {} images of {} were looked at, evenly over the set",
                                  looked_at, all, split));
  }
  return notices;
}

InspectedData pictures_of(const LoadedModel& loaded, const std::string& folder,
                          const std::string& split, std::int64_t limit) {
  const DataSplits splits = open_data(folder, data_options_of(loaded.info, split));
  const std::shared_ptr<const Dataset> all = splits.split(split);
  const auto data = std::make_shared<Subset>(all, spread(all->size(), limit));
  return {
      std::make_shared<ImageSource>(data, loaded.info.pipeline),
      std::make_shared<Classification>(loaded.info.config, LossConfig{.name = loaded.info.loss}),
      [data](std::int64_t i) { return data->name(i); },
      [data](std::int64_t i) { return copy_of(data->image(i)); },
      with_share(splits.notices, data->size(), all->size(), split)};
}

InspectedData pictures_of(const LoadedDetector& loaded, bool allow_outside,
                          const std::string& folder, const std::string& split, std::int64_t limit) {
  const DetectorConfig& config = loaded.model->config();
  const DetectionData data = open_detection_data(
      folder, {.classes = config.classes, .allow_outside = allow_outside, .exif = config.exif});
  const std::vector<AnnotatedImage>& all = split_of(data, folder, split);
  std::vector<AnnotatedImage> chosen;
  for (std::int64_t i : spread(static_cast<std::int64_t>(all.size()), limit)) {
    chosen.push_back(all[static_cast<std::size_t>(i)]);
  }
  const auto source = std::make_shared<DetectionSource>(
      std::move(chosen), static_cast<int>(config.classes.size()), static_cast<int>(config.height),
      static_cast<int>(config.width), Augment::none);
  return {source, std::make_shared<DetectionTask>(config, source),
          [source](std::int64_t i) { return source->annotation(i).path; },
          [source](std::int64_t i) { return read_annotated(source->annotation(i)); },
          with_share(data.notices, source->size(), static_cast<std::int64_t>(all.size()), split)};
}

LoadedDetector new_detector(const ModelConfig& model) {
  if (model.channels != 3) {
    throw usage_error("--channels is {}; a {} sees pictures of 3", model.channels, kDetector);
  }
  DetectorConfig config;
  config.classes.assign(static_cast<std::size_t>(model.classes), "");
  if (model.image_size != 0) config.height = config.width = model.image_size;
  config.channel_scale = model.width;
  LoadedDetector loaded;
  loaded.model = std::make_unique<CentreDetector>(config);
  return loaded;
}

}  // namespace

Model& InspectedModel::model() const {
  if (classifier) return *classifier->model;
  return *detector->model;
}

std::string InspectedModel::name() const {
  return classifier ? classifier->info.config.name : kDetector;
}

Shape InspectedModel::image() const {
  if (classifier) return image_shape_of(classifier->info.config);
  return {detector->model->config().height, detector->model->config().width, 3};
}

const std::vector<std::string>& InspectedModel::classes() const {
  return classifier ? classifier->info.classes : detector->model->config().classes;
}

const std::filesystem::path& InspectedModel::path() const {
  return classifier ? classifier->path : detector->path;
}

InspectedData InspectedModel::data(const std::string& folder, const std::string& split,
                                   std::int64_t limit) const {
  return classifier ? pictures_of(*classifier, folder, split, limit)
                    : pictures_of(*detector, allow_outside, folder, split, limit);
}

InspectedModel open_model(const RunOptions& run) {
  InspectedModel opened;
  opened.allow_outside = run.allow_outside;
  if (is_detector(run.run, run.checkpoint)) {
    opened.detector = run.detector();
  } else {
    opened.classifier = run.classifier();
  }
  return opened;
}

void ModelSource::add_to(CLI::App& app) {
  run.add_to(app, false);
  app.add_option("--model", model.name, "a model of the zoo, or centre-detector, instead of a run");
  app.add_option("--image-size", model.image_size, "with --model; 0: its usual one");
  app.add_option("--classes", model.classes, "with --model; 0: 1000, or 20 of centre-detector")
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("--channels", model.channels, "with --model")->capture_default_str();
  app.add_option("--width", model.width, "with --model")->capture_default_str();
}

InspectedModel ModelSource::open() {
  run.apply();
  if (run.run.empty() == model.name.empty()) {
    throw usage_error("inspect needs either --run RUN or --model NAME");
  }
  InspectedModel opened;
  if (!run.run.empty()) {
    opened = open_model(run);
  } else {
    expect_no_slip("model", model.name, model_names(), "`train --help` tells all");
    const bool boxes = model.name == kDetector;
    if (model.classes == 0) model.classes = boxes ? 20 : 1000;
    if (boxes) {
      opened.detector = new_detector(model);
    } else {
      if (model.image_size == 0) model.image_size = describe_model(model.name).default_image_size;
      opened.classifier.emplace();
      opened.classifier->model = make_model(model);
      opened.classifier->info.config = model;
    }
  }
  move_to(run.backend().device, opened.model().parameters());
  return opened;
}

inspection::Record record_of(Model& model) {
  return [&model](Tape&, Var image) {
    std::vector<Var> outputs;
    for (const auto& [name, output] : model({{"image", image}})) outputs.push_back(output);
    return outputs;
  };
}

Shape image_shape_of(const ModelConfig& config) {
  return {config.image_size, config.image_size, config.channels};
}

Tensor inputs_of(const SampleSource& samples, std::span<const std::int64_t> indices) {
  std::vector<Tensor> tensors;
  std::size_t image = 0;
  for (const auto& [name, type] : samples.types()) {
    if (name == "image") image = tensors.size();
    tensors.emplace_back(
        Type{type.dtype, type.shape.with_leading(static_cast<std::int64_t>(indices.size()))});
  }
  for (std::size_t n = 0; n < indices.size(); ++n) {
    std::vector<Tensor> rows;
    std::vector<void*> pointers;
    for (const Tensor& tensor : tensors) {
      const auto row = static_cast<std::int64_t>(n);
      rows.push_back(tensor.rows(row, row + 1));
      pointers.push_back(rows.back().data());
    }
    samples.load(indices[n], {}, pointers);
  }
  return tensors[image];
}

}  // namespace tapescope::cli
