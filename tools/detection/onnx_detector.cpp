#include "tools/detection/onnx_detector.h"

#include <cmath>
#include <limits>

#include "tools/detection/detection_task.h"
#include "tools/files/text_file.h"
#include "tools/onnx/recorder.h"

namespace tapescope::detection {
namespace {

// Boxes of a net that is not trained here: no loss.
class BoxTask final : public Task {
 public:
  BoxTask(const OnnxDetector& net, std::shared_ptr<const DetectionSource> source)
      : net_(net), source_(std::move(source)) {}
  std::string_view score_name() const override { return "AP"; }
  NamedVars inputs(Tape& tape, std::int64_t batch_size) const override {
    const DetectorConfig& c = net_.config();
    return {{"image", tape.input("image", DType::f32, {batch_size, c.height, c.width, 3})}};
  }
  // Not a number, of each sample.
  Loss loss(const NamedVars& /*inputs*/, const NamedVars& outputs) const override {
    const Var one = slice(outputs.at("heat"), 3, 0, 1);
    const Var most = reduce_max(one, std::vector<int>{1, 2, 3});
    return {reshape(affine(most, 0, std::numeric_limits<double>::quiet_NaN()), {})};
  }
  Var predictions(const NamedVars& outputs) const override { return net_.predictions(outputs); }
  std::unique_ptr<Metrics> metrics() const override {
    return std::make_unique<DetectionMetrics>(*source_, net_.selection());
  }

 private:
  const OnnxDetector& net_;
  std::shared_ptr<const DetectionSource> source_;
};

// {1,1,cells,count}: `of` each place and number.
template <class Of>
Tensor by_cell(const Grid& grid, std::int64_t count, Of&& of) {
  Tensor all({DType::f32, {1, 1, grid.width, count}});
  for (std::int64_t i = 0; i < grid.width; ++i) {
    const Grid::Place place = grid.place(0, static_cast<int>(i));
    for (std::int64_t k = 0; k < count; ++k) {
      all.values<float>()[static_cast<std::size_t>(i * count + k)] =
          static_cast<float>(of(place, k));
    }
  }
  return all;
}

Var blue_first(Var image) {
  const Var parts[] = {slice(image, 3, 2, 3), slice(image, 3, 1, 2), slice(image, 3, 0, 1)};
  return concat(parts, 3);
}

// A value {N, ., .} as {N,1,cells,numbers}.
Var by_cells(const onnx::Value& value, bool cells_last) {
  Var x = arranged(value, cells_last ? onnx::Layout{0, 2, 1} : onnx::Layout{0, 1, 2});
  if (x.dtype() != DType::f32) x = cast(x, DType::f32);
  return reshape(x, {1, x.shape()[1], x.shape()[2]});
}

}  // namespace

Shape answers_of(const onnx::Graph& graph, std::int64_t height, std::int64_t width) {
  Tape tape(Device::cpu(), Mode::evaluation);
  onnx::Recorder recorder(graph, tape, {.only_shapes = true});
  // Two rows: an extent of 1 is never the batch by chance.
  const Var image = tape.input("image", DType::f32, {2, height, width, 3});
  recorder.bind(graph.inputs[0].name, picture_value(graph, image));
  recorder.run();
  const onnx::Value& output = recorder.at(graph.outputs[0].name);
  if (output.known || !output.batched || output.batch_axis() != 0) {
    throw usage_error("the output '{}' of '{}' has no axis 0 of pictures",
                      shown(graph.outputs[0].name), shown(graph.path.string()));
  }
  return extents_of(output);
}

OnnxDetector::OnnxDetector(std::shared_ptr<const onnx::Graph> graph, OnnxHead head,
                           DetectorConfig config, bool bgr)
    : BoxNet(config.seed),
      graph_(std::move(graph)),
      head_(std::move(head)),
      config_(std::move(config)),
      bgr_(bgr) {
  Tape tape(Device::cpu(), Mode::evaluation);
  record(tape.input("image", DType::f32, {2, config_.height, config_.width, 3}),
         parameters_.making([&](const auto&... made) { return add_parameter(made...); }), &maps_);
}

NamedVars OnnxDetector::operator()(const NamedVars& inputs) const {
  return record(inputs.at("image"), parameters_.made());
}

NamedVars OnnxDetector::record(Var image, onnx::RecorderOptions options,
                               std::vector<std::string>* maps) const {
  onnx::Recorder recorder(*graph_, image.tape(), std::move(options));
  recorder.bind(graph_->inputs[0].name, picture_value(*graph_, bgr_ ? blue_first(image) : image));
  recorder.run();
  for (std::size_t l = 0; maps != nullptr && l < head_.maps.size(); ++l) {
    const std::string& value = head_.maps[l];
    maps->push_back(value.empty() || recorder.at(value).known ? "" : recorder.at(value).var.path());
  }
  const Tape::Scope in(image.tape(), "cells");
  const Var numbers = widened(by_cells(recorder.at(graph_->outputs[0].name), head_.cells_last));
  const Var rest = scores(recorder, numbers);
  const std::int64_t first = head_.objectness ? 1 : 0;
  const Var placed = boxes(slice(numbers, 3, 0, 4));
  NamedVars outputs = {{"heat", slice(rest, 3, first, first + head_.classes)},
                       {"boxes", placed},
                       {"ltrb", sides(recorder, placed)}};
  if (head_.objectness) outputs["objectness"] = slice(rest, 3, 0, 1);
  return outputs;
}

Var OnnxDetector::boxes(Var numbers) const {
  if (head_.corners) return numbers;
  Tape& tape = numbers.tape();
  Var centre = slice(numbers, 3, 0, 2), size = slice(numbers, 3, 2, 4);
  if (!head_.placed) {
    const Var strides =
        tape.constant(by_cell(grid(), 1, [](const auto& p, auto) { return p.stride; }));
    const Var corners = tape.constant(
        by_cell(grid(), 2, [](const auto& p, std::int64_t k) { return k == 0 ? p.x : p.y; }));
    centre = mul(add(centre, corners), strides);
    size = mul(exp(size), strides);
  }
  const Var half = affine(size, 0.5);
  const Var parts[] = {sub(centre, half), add(centre, half)};
  return concat(parts, 3);
}

// All but the boxes.
Var OnnxDetector::scores(const onnx::Recorder& recorder, Var numbers) const {
  if (!head_.scores.empty()) {
    const onnx::Value& value = recorder.at(head_.scores);
    if (!value.known && value.batched && value.batch_axis() == 0 && value.rank() == 3) {
      const Shape extents = extents_of(value);
      for (const bool last : {true, false}) {
        if (extents[last ? 2 : 1] == head_.cells && extents[last ? 1 : 2] == head_.numbers - 4) {
          return by_cells(value, last);
        }
      }
    }
  }
  return slice(numbers, 3, 4, head_.numbers);
}

Var OnnxDetector::sides(const onnx::Recorder& recorder, Var boxes) const {
  Tape& tape = boxes.tape();
  if (!head_.distances.empty()) {
    const onnx::Value& value = recorder.at(head_.distances);
    if (!value.known && value.batched && extents_of(value).rank() == 3 &&
        extents_of(value)[1] == 4 && extents_of(value)[2] == head_.cells) {
      return mul(by_cells(value, true),
                 tape.constant(by_cell(grid(), 1, [](const auto& p, auto) { return p.stride; })));
    }
  }
  const Var middles = tape.constant(by_cell(grid(), 4, [](const auto& p, std::int64_t k) {
    return p.stride * ((k % 2 == 0 ? p.x : p.y) + 0.5);
  }));
  const Var outwards = tape.constant(Tensor::from<float>({1, 1, 1, 4}, {-1, -1, 1, 1}));
  return mul(sub(boxes, middles), outwards);
}

Selection OnnxDetector::selection() const {
  switch (head_.kind) {
    case HeadKind::yolo26:
      return {false, 0};
    case HeadKind::yolov5:
    case HeadKind::yolox:
      return {false, 0.45};
    case HeadKind::yolov8:
    case HeadKind::raw:
      break;
  }
  return {false, 0.7};
}

CellVars OnnxDetector::cells(const NamedVars& outputs) const {
  Var probability = sigmoid(outputs.at("heat"));
  if (head_.objectness) probability = mul(probability, sigmoid(outputs.at("objectness")));
  return {probability, outputs.at("boxes")};
}

std::string OnnxDetector::shared_map(int y, int x) const {
  const int level = grid().place(y, x).level;
  return maps_.at(level < 0 ? 0 : static_cast<std::size_t>(level));
}

std::unique_ptr<Task> OnnxDetector::task(std::shared_ptr<const DetectionSource> source) const {
  return std::make_unique<BoxTask>(*this, std::move(source));
}

std::unique_ptr<BoxNet> OnnxDetector::randomised(DetectorPart part, std::uint64_t seed) const {
  auto result = std::make_unique<OnnxDetector>(graph_, head_, config_, bgr_);
  const onnx::Parts parts = onnx::parts_of(*graph_, head_.maps);
  const std::set<std::string>& drawn = part == DetectorPart::head   ? parts.head
                                       : part == DetectorPart::neck ? parts.neck
                                                                    : parts.backbone;
  PhiloxStream random(seed);
  const std::vector<ParameterRef> own = parameters(), fresh = result->parameters();
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (drawn.contains(parameters_.source_of(own[i]->name))) {
      onnx::redraw(*own[i], *fresh[i], random);
    }
  }
  return result;
}

}  // namespace tapescope::detection
