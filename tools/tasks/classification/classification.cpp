#include "tools/tasks/classification/classification.h"

#include "tools/detection/frame_source.h"
#include "tools/tasks/classification/localiser.h"

namespace tapescope::tasks {

DataSplits ClassificationRun::open(const DataRequest& request) const {
  return open_data(request.folder, data_options(request));
}

RunData ClassificationRun::data(const DataRequest& request) const {
  const DataSplits splits = open(request);
  const std::shared_ptr<const Dataset> all = splits.split(request.split);
  const auto data = std::make_shared<Subset>(all, spread(all->size(), request.limit));
  return {std::make_shared<ImageSource>(data, info().pipeline),
          std::make_shared<Classification>(info().config, LossConfig{.name = info().loss}),
          [data](std::int64_t i) { return data->name(i); },
          [data](std::int64_t i) { return copy_of(data->image(i)); },
          with_share(splits.notices, data->size(), all->size(), request.split)};
}

Finder ClassificationRun::finder(const Finding& finding, const Backend& backend) const {
  move_to(backend.device, model().parameters());
  const auto localiser =
      std::make_shared<Localiser>(class_logits(), backend, finding.share, finding.target);
  return [localiser, finding](detection::Frame& frame) {
    const Localiser::Answer answer = localiser->find(frame.image, frame.name, &frame.times);
    const auto probability = static_cast<float>(answer.probability);
    if (answer.box.area() > 0 && probability >= finding.threshold) {
      frame.seen.push_back({answer.box, answer.category, probability});
    }
  };
}

bool ClassificationKit::wrote(const SafetensorsFile& file) const {
  return file.metadata().contains("tapescope.model");
}

std::unique_ptr<Run> ClassificationKit::open(SafetensorsFile& file, RunRequest asked,
                                             const LoadOptions& options) const {
  LoadedModel loaded = load_model(file, options);
  return std::make_unique<ClassificationRun>(*this, std::move(asked), std::move(loaded));
}

std::unique_ptr<Run> ClassificationKit::make(ModelConfig config) const {
  return std::make_unique<ClassificationRun>(*this, RunRequest{},
                                             untrained_classifier(std::move(config)));
}

const Kit& classification_kit() {
  static const ClassificationKit kit;
  return kit;
}

}  // namespace tapescope::tasks
