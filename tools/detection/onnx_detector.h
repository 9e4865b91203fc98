// A detector from an ONNX file: how its answers are read, and the net.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/detection/box_net.h"
#include "tools/onnx/detector_head.h"
#include "tools/onnx/graph_parameters.h"

namespace tapescope::detection {

// Boxes as centre and size in the input's pixels, unless said; scores are probabilities.
enum class HeadKind : unsigned char {
  yolov8,  // {N, 4 + classes, cells}; also YOLOv9, 11 and 12
  yolov5,  // {N, cells, 4 + objectness + classes}, three anchors a place
  yolox,   // the same, one a place; boxes perhaps still as (dx, dy, log w, log h) in strides
  yolo26,  // {N, 300, 6}, the surest chosen within the graph, one cell an object: cut before that
  raw,     // as yolov8, its scores logits
};
// Throws a usage error that lists them.
HeadKind head_named(const std::string& name);

// How the answers of all cells are read.
struct OnnxHead {
  HeadKind kind = HeadKind::yolov8;
  bool cells_last = true;   // {N, numbers, cells}, else {N, cells, numbers}
  bool objectness = false;  // a number between box and classes
  bool corners = false;     // boxes are x0, y0, x1, y1
  bool placed = true;       // boxes lie in the input; else they are relative to their cells
  std::int64_t cells = 0, classes = 0, numbers = 0;
  std::vector<Level> levels;      // empty: no strides give so many cells
  std::string scores, distances;  // see onnx::DetectorHead
  std::vector<std::string>
      maps;  // values that all branches of a level read; "" where none is found
};

// What is known of a file whose head is looked for.
struct HeadRequest {
  std::optional<HeadKind> kind;  // none: by the shape
  std::int64_t height = 0, width = 0;
  std::int64_t named = 0;                    // classes that the file names; 0: none
  bool certain = false;                      // it is a detector: what is not understood is an error
  onnx::Choice choice = onnx::Choice::none;  // of boxes within the graph, which was cut off
};
// The head of answers of this shape {N, ., .}; nothing where the shape is no detector's. Throws a
// usage error, that names what there is and what could be, where it is certainly one.
std::optional<OnnxHead> head_of(const onnx::Graph& graph, const onnx::DetectorHead& found,
                                const Shape& answers, const HeadRequest& request);
// The shape of the graph's first output for two pictures of that size.
Shape answers_of(const onnx::Graph& graph, std::int64_t height, std::int64_t width);

// {"image"} to {"heat", "ltrb", "boxes" and perhaps "objectness"}: see BoxNet; maps are
// {N,1,cells,.}. Explained are logits, the numbers before the Sigmoids, and the sides' distances
// from the cell's middle: from what the graph works its boxes out of where that is found, else from
// the boxes.
class OnnxDetector final : public BoxNet {
 public:
  // The graph's output are the bare answers. `bgr`: the net sees blue first.
  OnnxDetector(std::shared_ptr<const onnx::Graph> graph, OnnxHead head, DetectorConfig config,
               bool bgr);
  NamedVars operator()(const NamedVars& inputs) const override;
  const DetectorConfig& config() const override { return config_; }
  const OnnxHead& head() const { return head_; }
  Grid grid() const override { return {head_.levels, 1, head_.cells}; }
  Selection selection() const override;
  CellVars cells(const NamedVars& outputs) const override;
  std::string shared_map(int y, int x) const override;
  bool learns() const override { return false; }
  std::unique_ptr<Task> task(std::shared_ptr<const DetectionSource> source) const override;
  std::unique_ptr<BoxNet> randomised(DetectorPart part, std::uint64_t seed) const override;

 private:
  NamedVars record(Var image, onnx::RecorderOptions options,
                   std::vector<std::string>* maps = nullptr) const;
  Var boxes(Var numbers) const;
  Var scores(const onnx::Recorder& recorder, Var numbers) const;
  Var sides(const onnx::Recorder& recorder, Var boxes) const;

  std::shared_ptr<const onnx::Graph> graph_;
  OnnxHead head_;
  DetectorConfig config_;
  bool bgr_;
  onnx::GraphParameters parameters_;
  std::vector<std::string> maps_;  // head_.maps as nodes of the tape
};

}  // namespace tapescope::detection
