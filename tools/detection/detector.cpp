#include "tools/detection/detector.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "autograd/tape.h"

namespace tapescope::detection {
namespace {

using Clock = std::chrono::steady_clock;
double milliseconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

}  // namespace

Program compile(const BoxNet& model, const Backend& backend,
                const std::function<std::vector<Var>(const NamedVars& outputs)>& answers) {
  move_to(backend.device, model.parameters());
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices, backend.precision});
  const DetectorConfig& config = model.config();
  const Var image = tape.input("image", DType::f32, {1, config.height, config.width, 3});
  return tape.compile(answers(model({{"image", image}})), {}, {.keep_fixed = true});
}

Detector::Detector(const BoxNet& model, const Backend& backend)
    : model_(model), program_(compile(model, backend, [&](const NamedVars& outputs) {
        return std::vector{model.predictions(outputs)};
      })) {}

Letterbox Detector::letterbox(const Image& picture) const {
  return letterbox_of(picture.height, picture.width, static_cast<int>(config().height),
                      static_cast<int>(config().width), config().form);
}

Tensor Detector::input(const Image& picture) const {
  const int h = static_cast<int>(config().height), w = static_cast<int>(config().width);
  Tensor input({DType::f32, {1, h, w, 3}});
  normalise(letterboxed(picture, letterbox(picture), h, w), config().form,
            input.values<float>().data());
  return input;
}

std::vector<Seen> Detector::detect(const Image& picture, const DetectOptions& options,
                                   DetectTimes* times) {
  const Clock::time_point began = Clock::now();
  const Tensor seen = input(picture);
  if (times != nullptr) times->resize = milliseconds(began, Clock::now());
  return detect(seen, picture, options, times);
}

std::vector<Seen> Detector::detect(const Tensor& input, const Image& picture,
                                   const DetectOptions& options, DetectTimes* times) {
  const Clock::time_point began = Clock::now();
  const Tensor predictions = program_.run({{"image", input}})[0];
  const Clock::time_point ran = Clock::now();
  const Shape& s = predictions.shape();
  const Letterbox box = letterbox(picture);
  Selection selection = model_.selection();
  const bool own = selection.nms > 0;
  if (own && options.nms > 0) selection.nms = options.nms;
  std::vector<Seen> all;
  for (Seen& seen : choose(predictions.values<float>(), s[1], s[2], s[3] - 4, selection,
                           options.most, options.threshold)) {
    seen.box = box.into_picture(seen.box, picture.height, picture.width);
    // A cell in the letterbox's border has a box, but nothing of the picture in it.
    if (seen.box.area() > 0) all.push_back(seen);
  }
  if (options.nms > 0 && !own) all = suppress(std::move(all), options.nms);
  if (times != nullptr) {
    times->forward = milliseconds(began, ran);
    times->boxes = milliseconds(ran, Clock::now());
  }
  return all;
}

}  // namespace tapescope::detection
