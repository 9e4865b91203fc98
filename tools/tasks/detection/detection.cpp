#include "tools/tasks/detection/detection.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "tools/data/picture_files.h"
#include "tools/detection/detection_task.h"
#include "tools/detection/detector.h"
#include "tools/detection/frame_source.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/tasks/detection/box_picture_explainer.h"
#include "tools/training/deviation.h"

namespace tapescope::tasks {

using namespace detection;

DetectionRun::DetectionRun(const Kit& kit, RunRequest asked, std::string name,
                           std::filesystem::path path, std::unique_ptr<BoxNet> model)
    : Run(kit, {std::move(asked), std::move(name), model->config().classes,
                preprocess_of(model->config()), std::move(path)}),  // of letterboxed pictures
      model_(std::move(model)) {}

DetectionData DetectionRun::open(const DataRequest& request) const {
  const bool skip = request.on_bad_image == BadImage::skip;
  return open_detection_data(request.folder,
                             {.classes = config().classes,
                              .allow_outside = asked().allow_outside,
                              .on_bad_image = skip ? BadImage::skip : config().on_bad_image,
                              .exif = config().exif,
                              .division = division_of(config(), request.split)});
}

RunData DetectionRun::data(const DataRequest& request) const {
  const DetectionData data = open(request);
  const std::vector<AnnotatedImage>& all = split_of(data, request.folder, request.split);
  std::vector<AnnotatedImage> chosen;
  for (std::int64_t i : spread(static_cast<std::int64_t>(all.size()), request.limit)) {
    chosen.push_back(all[static_cast<std::size_t>(i)]);
  }
  const auto source = source_of(std::move(chosen));
  return {source, model().task(source),
          [source](std::int64_t i) { return source->annotation(i).path; },
          [source](std::int64_t i) { return read_annotated(source->annotation(i)); },
          with_share(data.notices, source->size(), static_cast<std::int64_t>(all.size()),
                     request.split)};
}

std::shared_ptr<const DetectionSource> DetectionRun::source_of(
    std::vector<AnnotatedImage> images) const {
  return std::make_shared<DetectionSource>(std::move(images), config(), model().learns());
}

// The surest boxes of each picture.
Predicted DetectionRun::predict(const PredictionRequest& request, const Backend& backend) const {
  using Json = nlohmann::ordered_json;
  Detector detector(model(), backend);
  DetectOptions options;
  options.most = static_cast<int>(request.top);
  Json images = Json::array();
  BadPictures bad;
  for (const std::string& path : request.pictures) {
    Image picture;
    if (bad.skipped([&] { picture = read_image(path, 3, config().exif); })) {
      images.push_back({{"path", path}, {"error", bad.last()}});
      continue;
    }
    if (&path == &request.pictures[0]) tell_deviation(model(), detector.input(picture), backend);
    Json list = Json::array();
    std::string text = printable(path) + "\n";
    for (const Seen& s : detector.detect(picture, options)) {
      const std::string& name = classes()[static_cast<std::size_t>(s.category)];
      text += fmt::format("  {:>6.2f} %  {}  {:.0f},{:.0f} of {:.0f}x{:.0f}\n", 100 * s.score,
                          printable(name), s.box.x, s.box.y, s.box.w, s.box.h);
      list.push_back({{"class", name},
                      {"probability", s.score},
                      {"box", {s.box.x, s.box.y, s.box.w, s.box.h}}});
    }
    request.say(text);
    images.push_back({{"path", path}, {"top", list}});
  }
  return {json_text(Json{{"images", images}}, 2), bad.status(request.pictures.size())};
}

Finder DetectionRun::finder(const Finding& finding, const Backend& backend) const {
  const auto detector = std::make_shared<Detector>(model(), backend);
  const DetectOptions options{finding.threshold, finding.most, finding.nms};
  return [detector, options, backend, &net = model(), first = true](Frame& frame) mutable {
    if (std::exchange(first, false)) tell_deviation(net, detector->input(frame.image), backend);
    frame.seen = detector->detect(frame.image, options, &frame.times);
  };
}

std::unique_ptr<PictureExplainer> DetectionRun::explainer(const ExplainOptions& options) const {
  return std::make_unique<BoxPictureExplainer>(model(), options, asked().allow_outside);
}

bool DetectionKit::wrote(const SafetensorsFile& file) const {
  return file.metadata().contains("tapescope.detector");
}

std::unique_ptr<Run> DetectionKit::open(SafetensorsFile& file, RunRequest asked,
                                        const LoadOptions& options) const {
  LoadedDetector loaded = load_detector(file, options);
  return std::make_unique<DetectionRun>(*this, std::move(asked), models()[0],
                                        std::move(loaded.path), std::move(loaded.model));
}

std::unique_ptr<Run> DetectionKit::make(ModelConfig model) const {
  if (model.channels != 3) {
    throw usage_error("--channels is {}; a {} sees pictures of 3", model.channels, model.name);
  }
  DetectorConfig config;
  config.classes.assign(static_cast<std::size_t>(model.classes == 0 ? 20 : model.classes), "");
  if (model.image_size != 0) config.height = config.width = model.image_size;
  config.channel_scale = model.width;
  return std::make_unique<DetectionRun>(*this, RunRequest{}, models()[0], "",
                                        std::make_unique<CentreDetector>(config));
}

const Kit& detection_kit() {
  static const DetectionKit kit;
  return kit;
}

}  // namespace tapescope::tasks
