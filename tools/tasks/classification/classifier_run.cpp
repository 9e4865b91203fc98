#include "tools/tasks/classification/classifier_run.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "autograd/program/program.h"
#include "tools/data/picture_files.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/onnx/graph.h"
#include "tools/tasks/classification/class_explainer.h"
#include "tools/training/deviation.h"

namespace tapescope::tasks {

using Json = nlohmann::ordered_json;

ClassifierRun::ClassifierRun(const Kit& kit, RunRequest asked, LoadedModel loaded, Answers answers)
    : Run(kit, {std::move(asked), loaded.info.config.name, loaded.info.classes,
                loaded.info.preprocess(), loaded.path}),
      loaded_(std::move(loaded)),
      answers_(answers) {}

ClassLogits ClassifierRun::class_logits() const {
  return {logits_of(model()), preprocess(), classes(), answers_.of};
}

DataOptions ClassifierRun::data_options(const DataRequest& request) const {
  DataOptions options = data_options_of(info(), request.split);
  if (request.on_bad_image == BadImage::skip) options.on_bad_image = BadImage::skip;
  if (onnx::names_onnx(asked().run)) {
    options.class_remedy =
        ", or call the file's classes as the folders are called: --class-names FILE, one per line "
        "in "
        "the order of its answers";
  }
  return options;
}

std::unique_ptr<PictureExplainer> ClassifierRun::explainer(const ExplainOptions& options) const {
  return std::make_unique<ClassExplainer>(model(), class_logits(), options);
}

Predicted ClassifierRun::predict(const PredictionRequest& request, const Backend& backend) const {
  const ClassLogits net = class_logits();
  move_to(backend.device, model().parameters());
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices, backend.precision});
  const Var image = tape.input("image", DType::f32, net.preprocess.image.with_leading(1));
  const Var answer = answers_.record(net.record(tape, image));
  Program program = tape.compile(std::vector{answer}, {}, {.keep_fixed = true});
  Json images = Json::array();
  BadPictures bad;
  for (const std::string& path : request.pictures) {
    Picture picture;
    if (bad.skipped([&] { picture = read_picture(path, net.preprocess); })) {
      images.push_back({{"path", path}, {"error", bad.last()}});
      continue;
    }
    if (&path == &request.pictures[0]) tell_deviation(model(), picture.input, backend);
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
      const std::string name = printable(net.classes[c]);
      text += answers_.shares ? fmt::format("  {:>6.2f} %  {}\n", 100 * p[c], name)
                              : fmt::format("  {:>10.5g}  {}\n", p[c], name);
      list.push_back({{answers_.shares ? "class" : "unit", net.classes[c]},
                      {answers_.shares ? "probability" : "value", p[c]}});
    }
    request.say(text);
    images.push_back({{"path", path}, {"top", list}});
  }
  return {json_text(Json{{"images", images}}, 2), bad.status(request.pictures.size())};
}

std::vector<std::string> classifier_names() {
  std::vector<std::string> names;
  for (const ModelDescription& model : model_descriptions()) names.emplace_back(model.name);
  return names;
}

LoadedModel untrained_classifier(ModelConfig config) {
  if (config.classes == 0) config.classes = 1000;
  if (config.image_size == 0) config.image_size = describe_model(config.name).default_image_size;
  LoadedModel fresh;
  fresh.model = make_model(config);
  fresh.info.config = config;
  fresh.info.classes.assign(static_cast<std::size_t>(config.classes), "");
  return fresh;
}

}  // namespace tapescope::tasks
