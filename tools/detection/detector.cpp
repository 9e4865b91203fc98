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

Program compile(const CentreDetector& model, const Backend& backend,
                const std::function<std::vector<Var>(const NamedVars& outputs)>& answers) {
  move_to(backend.device, model.parameters());
  Tape tape(backend.device, Mode::evaluation, {0, backend.choices});
  const DetectorConfig& config = model.config();
  const Var image = tape.input("image", DType::f32, {1, config.height, config.width, 3});
  return tape.compile(answers(model({{"image", image}})), {}, {.keep_fixed = true});
}

Detector::Detector(const CentreDetector& model, const Backend& backend)
    : model_(model), program_(compile(model, backend, [&](const NamedVars& outputs) {
        return std::vector{DetectionTask(model.config(), nullptr).predictions(outputs)};
      })) {}

Letterbox Detector::letterbox(const Image& picture) const {
  return letterbox_of(picture.height, picture.width, static_cast<int>(config().height),
                      static_cast<int>(config().width));
}

Tensor Detector::input(const Image& picture) const {
  const int h = static_cast<int>(config().height), w = static_cast<int>(config().width);
  Tensor input({DType::f32, {1, h, w, 3}});
  normalise(letterboxed(picture, letterbox(picture), h, w), input.values<float>().data());
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
  std::vector<Seen> all;
  for (Seen& seen :
       decode(predictions.values<float>(), s[1], s[2], s[3] - 4, options.most, options.threshold)) {
    seen.box = box.into_picture(seen.box, picture.height, picture.width);
    // A cell in the letterbox's border has a box, but nothing of the picture in it.
    if (seen.box.area() > 0) all.push_back(seen);
  }
  if (options.nms > 0) all = suppress(std::move(all), options.nms);
  if (times != nullptr) {
    times->forward = milliseconds(began, ran);
    times->boxes = milliseconds(ran, Clock::now());
  }
  return all;
}

std::vector<Seen> suppress(std::vector<Seen> seen, double threshold) {
  std::stable_sort(seen.begin(), seen.end(),
                   [](const Seen& a, const Seen& b) { return a.score > b.score; });
  std::vector<Seen> kept;
  for (const Seen& candidate : seen) {
    const bool covered = std::any_of(kept.begin(), kept.end(), [&](const Seen& other) {
      return other.category == candidate.category && iou(other.box, candidate.box) > threshold;
    });
    if (!covered) kept.push_back(candidate);
  }
  return kept;
}

}  // namespace tapescope::detection
