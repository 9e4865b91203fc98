// Which head a shape is of.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "tools/detection/onnx_detector.h"
#include "tools/files/text_file.h"
#include "tools/onnx/recorder.h"

namespace tapescope::detection {
namespace {

constexpr std::pair<const char*, HeadKind> kHeads[] = {{"yolov8", HeadKind::yolov8},
                                                       {"yolov5", HeadKind::yolov5},
                                                       {"yolox", HeadKind::yolox},
                                                       {"yolo26", HeadKind::yolo26},
                                                       {"raw", HeadKind::raw}};

// The levels of an input whose cells are so many; none where no strides of today's heads have them.
std::vector<Level> levels_for(std::int64_t cells, std::int64_t height, std::int64_t width) {
  static const std::vector<std::vector<int>> strides = {
      {8, 16, 32}, {8, 16, 32, 64}, {4, 8, 16, 32}, {16, 32}, {8, 16}, {8}, {16}, {32}};
  for (const int boxes : {1, 3}) {
    for (const std::vector<int>& all : strides) {
      std::vector<Level> levels;
      std::int64_t sum = 0;
      for (const int s : all) {
        if (height % s != 0 || width % s != 0) break;
        levels.push_back({s, static_cast<int>(height / s), static_cast<int>(width / s), boxes});
        sum += levels.back().cells();
      }
      if (levels.size() == all.size() && sum == cells) return levels;
    }
  }
  return {};
}

std::string where(const onnx::Graph& graph, const Shape& answers) {
  return fmt::format("'{}' answers {} ('{}')", shown(graph.path.string()), to_string(answers),
                     shown(graph.outputs[0].name));
}

// Axis 1 or 2 is that of the cells.
void find_cells(const Shape& answers, const HeadRequest& request, OnnxHead& head) {
  const auto last = levels_for(answers[2], request.height, request.width);
  const auto middle = levels_for(answers[1], request.height, request.width);
  head.cells_last = last.empty() == middle.empty() ? answers[2] > answers[1] : !last.empty();
  head.levels = head.cells_last ? last : middle;
  head.cells = answers[head.cells_last ? 2 : 1];
  head.numbers = answers[head.cells_last ? 1 : 2];
}

HeadKind kind_of(const OnnxHead& head, const onnx::DetectorHead& found,
                 const HeadRequest& request) {
  if (request.kind) return *request.kind;
  if (request.choice == onnx::Choice::surest) return HeadKind::yolo26;
  if (!head.levels.empty() && head.levels[0].boxes == 3) return HeadKind::yolov5;
  // A layer for objects and one for classes at each level.
  const bool two = found.layers.size() >= 2 * std::max<std::size_t>(1, head.levels.size());
  return !head.cells_last && two ? HeadKind::yolox : HeadKind::yolov8;
}

void find_maps(const onnx::Graph& graph, const onnx::DetectorHead& found, OnnxHead& head) {
  const std::size_t levels = std::max<std::size_t>(1, head.levels.size());
  const std::size_t each = found.layers.size() / levels;
  for (std::size_t l = 0; l < levels; ++l) {
    const bool known = each > 0 && found.layers.size() % levels == 0;
    head.maps.push_back(
        known ? onnx::shared_value(graph, found.layers[(l + 1) * each - 1], head.classes) : "");
  }
}

}  // namespace

HeadKind head_named(const std::string& name) {
  std::vector<const char*> known;
  for (const auto& [head, kind] : kHeads) {
    if (name == head) return kind;
    known.push_back(head);
  }
  throw usage_error("there is no --head '{}'; known are {}", shown(name), fmt::join(known, ", "));
}

std::optional<OnnxHead> head_of(const onnx::Graph& graph, const onnx::DetectorHead& found,
                                const Shape& answers, const HeadRequest& request) {
  if (answers.rank() != 3) {
    if (!request.certain) return std::nullopt;
    throw usage_error(
        "{}; a detector's answers of all cells are {{N, 4 + classes, cells}} (--head yolov8, "
        "yolo26, raw) or {{N, cells, 5 + classes}} (yolov5, yolox): name such a value with "
        "--outputs",
        where(graph, answers));
  }
  OnnxHead head;
  find_cells(answers, request, head);
  if (!request.certain && (head.levels.empty() || found.sigmoids == 0)) return std::nullopt;
  head.kind = kind_of(head, found, request);
  head.objectness = head.kind == HeadKind::yolov5 || head.kind == HeadKind::yolox;
  head.classes = head.numbers - 4 - (head.objectness ? 1 : 0);
  // Masks and keypoints follow the classes.
  if (request.named > 0 && request.named < head.classes) head.classes = request.named;
  if (head.classes < 1) {
    throw usage_error("{}: {} numbers a cell leave no class; --head says how they are read",
                      where(graph, answers), head.numbers);
  }
  if (found.sigmoids == 0 && head.kind != HeadKind::raw) {
    throw usage_error(
        "{}, but no Sigmoid gives its scores: --head raw takes numbers before a Sigmoid",
        where(graph, answers));
  }
  head.corners = found.corners;
  head.placed = head.kind != HeadKind::yolox || found.exponential;
  if (!head.placed && head.levels.empty()) {
    throw usage_error(
        "{}: boxes relative to their cells, but no strides give {} cells in an input of {}x{}; "
        "--image-size says its size",
        where(graph, answers), head.cells, request.width, request.height);
  }
  if (!head.levels.empty() && !head.objectness) head.distances = found.distances;
  head.scores = found.scores;
  find_maps(graph, found, head);
  return head;
}

}  // namespace tapescope::detection
