// A trained detector on pictures of any size.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "autograd/program/program.h"
#include "tools/detection/detection_task.h"
#include "tools/detection/detector_file.h"

namespace tapescope::detection {

struct DetectOptions {
  float threshold = 0.3f;  // least probability
  int most = 100;
  // Greedy suppression of boxes of one class above this IoU; 0: as the net's own selection() says.
  double nms = 0;
};

// Milliseconds of one picture.
struct DetectTimes {
  double resize = 0, forward = 0, boxes = 0;
};

// One picture's "image", f32 {1,H,W,3}, to what `answers` records of the model's outputs.
Program compile(const BoxNet& model, const Backend& backend,
                const std::function<std::vector<Var>(const NamedVars& outputs)>& answers);

class Detector {
 public:
  // `model` outlives it.
  Detector(const BoxNet& model, const Backend& backend);
  const DetectorConfig& config() const { return model_.config(); }
  Letterbox letterbox(const Image& picture) const;
  // f32 {1,H,W,3}: what the model sees of a picture.
  Tensor input(const Image& picture) const;
  std::vector<Seen> detect(const Image& picture, const DetectOptions& options,
                           DetectTimes* times = nullptr);
  // The same with the input at hand.
  std::vector<Seen> detect(const Tensor& input, const Image& picture, const DetectOptions& options,
                           DetectTimes* times = nullptr);

 private:
  const BoxNet& model_;
  Program program_;
};

// The boxes with their classes and probabilities, in one fixed colour per class.
void draw_boxes(Image& picture, std::span<const Seen> seen,
                const std::vector<std::string>& classes);

// --- what other tools read; COCO in coco_results.h -------------------------------------------
struct SeenImage {
  std::string path;
  int height = 0, width = 0;
  std::vector<Seen> seen;
};
// A line per box: class centre-x centre-y width height score, as shares of the picture.
std::string to_yolo_text(const SeenImage& image);
std::string to_voc_xml(const SeenImage& image, const std::vector<std::string>& classes);

}  // namespace tapescope::detection
