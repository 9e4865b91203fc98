#include "tools/tasks/classification/classification.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "autograd/program/program.h"
#include "tools/data/picture_files.h"
#include "tools/detection/frame_source.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/tasks/classification/class_explainer.h"
#include "tools/tasks/classification/localiser.h"

namespace tapescope::tasks {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

ClassificationRun::ClassificationRun(const Kit& kit, RunRequest asked, LoadedModel loaded)
    : Run(std::move(asked)),
      kit_(kit),
      loaded_(std::move(loaded)),
      preprocess_(loaded_.info.preprocess()) {}

DataSplits ClassificationRun::open(const DataRequest& request) const {
  DataOptions options = data_options_of(loaded_.info, request.split);
  options.skip_advised = request.on_bad_image.has_value();
  if (request.on_bad_image == BadImage::skip) options.on_bad_image = BadImage::skip;
  return open_data(request.folder, options);
}

RunData ClassificationRun::data(const DataRequest& request) const {
  const DataSplits splits = open(request);
  const std::shared_ptr<const Dataset> all = splits.split(request.split);
  const auto data = std::make_shared<Subset>(all, spread(all->size(), request.limit));
  return {
      std::make_shared<ImageSource>(data, loaded_.info.pipeline),
      std::make_shared<Classification>(loaded_.info.config, LossConfig{.name = loaded_.info.loss}),
      [data](std::int64_t i) { return data->name(i); },
      [data](std::int64_t i) { return copy_of(data->image(i)); },
      with_share(splits.notices, data->size(), all->size(), request.split)};
}

ClassLogits ClassificationRun::class_logits() const {
  return {logits_of(*loaded_.model), preprocess_, loaded_.info.classes, probabilities_of};
}

Predicted ClassificationRun::predict(const PredictionRequest& request,
                                     const Backend& backend) const {
  return predict_classes(class_logits(), softmax, *loaded_.model, request, backend);
}

Finder ClassificationRun::finder(const Finding& finding, const Backend& backend) const {
  move_to(backend.device, loaded_.model->parameters());
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

std::unique_ptr<PictureExplainer> ClassificationRun::explainer(
    const ExplainOptions& options) const {
  return std::make_unique<ClassExplainer>(*loaded_.model, class_logits(), options);
}

Predicted predict_classes(const ClassLogits& net, Var (*answers)(Var logits), Model& model,
                          const PredictionRequest& request, const Backend& backend) {
  move_to(backend.device, model.parameters());
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices});
  const Var image = tape.input("image", DType::f32, net.preprocess.image.with_leading(1));
  const Var answer = answers(net.record(tape, image));
  Program program = tape.compile(std::vector{answer}, {}, {.keep_fixed = true});
  Json images = Json::array();
  BadPictures bad;
  for (const std::string& path : request.pictures) {
    Picture picture;
    if (bad.skipped([&] { picture = read_picture(path, net.preprocess); })) {
      images.push_back({{"path", path}, {"error", bad.last()}});
      continue;
    }
    const Tensor probabilities = program.run({{"image", picture.input}})[0];
    const auto p = probabilities.values<float>();
    std::vector<std::size_t> order(p.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return p[a] > p[b]; });
    order.resize(std::min(order.size(), static_cast<std::size_t>(request.top)));
    Json list = Json::array();
    std::string text = printable(path) + "\n";
    for (std::size_t c : order) {
      text += fmt::format("  {:>6.2f} %  {}\n", 100 * p[c], printable(net.classes[c]));
      list.push_back({{"class", net.classes[c]}, {"probability", p[c]}});
    }
    request.say(text);
    images.push_back({{"path", path}, {"top", list}});
  }
  return {json_text(Json{{"images", images}}, 2), bad.status(request.pictures.size())};
}

std::vector<std::string> ClassificationKit::models() const {
  std::vector<std::string> names;
  for (const ModelDescription& model : model_descriptions()) names.emplace_back(model.name);
  return names;
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
  if (config.classes == 0) config.classes = 1000;
  if (config.image_size == 0) config.image_size = describe_model(config.name).default_image_size;
  LoadedModel fresh;
  fresh.model = make_model(config);
  fresh.info.config = config;
  fresh.info.classes.assign(static_cast<std::size_t>(config.classes), "");
  return std::make_unique<ClassificationRun>(*this, RunRequest{}, std::move(fresh));
}

}  // namespace tapescope::tasks
