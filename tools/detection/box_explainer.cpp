#include "tools/detection/box_explainer.h"

#include <algorithm>
#include <cmath>

#include "autograd/explain/perturbation.h"
#include "autograd/tape.h"
#include "engine/error.h"

namespace tapescope::detection {
namespace {

std::vector<double> probabilities(const Cells& cells, std::int64_t n, std::int64_t y,
                                  std::int64_t x) {
  std::vector<double> p;
  for (int k = 0; k < cells.classes(); ++k) p.push_back(cells.at(n, y, x, k));
  return p;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// What of a masked picture's answers is most like the box.
double most_similar(const Cells& cells, std::int64_t n, const Box& box,
                    const std::vector<double>& classes) {
  double best = 0;
  for (std::int64_t y = 0; y < cells.height(); ++y) {
    for (std::int64_t x = 0; x < cells.width(); ++x) {
      const std::vector<double> p = probabilities(cells, n, y, x);
      const double surest = *std::max_element(p.begin(), p.end());
      if (surest <= best) continue;  // neither of the other factors is above 1
      const double overlap = iou(box, cells.box(n, y, x));
      if (overlap * surest <= best) continue;
      const double norm = std::sqrt(dot(p, p) * dot(classes, classes));
      best = std::max(best, norm > 0 ? overlap * surest * dot(p, classes) / norm : 0);
    }
  }
  return best;
}

const char* output_of(const CellNumber& what) {
  return what.side < 0 ? "heat" : what.side == kObjectness ? "objectness" : "ltrb";
}

}  // namespace

std::int64_t BoxExplainer::index_of(const CellNumber& what) const {
  const auto classes = static_cast<std::int64_t>(model_.config().classes.size());
  const auto [levels, h, w] = model_.grid();
  const std::int64_t depth = what.side < 0 ? classes : what.side == kObjectness ? 1 : 4;
  const std::int64_t place = what.side < 0 ? what.category : what.side % 4;
  if (what.y < 0 || what.y >= h || what.x < 0 || what.x >= w || place < 0 || place >= depth) {
    throw usage_error("number {} of cell {},{} does not exist; there are {}x{} cells of {}", place,
                      what.x, what.y, w, h, depth);
  }
  return (what.y * w + what.x) * depth + place;
}

explain::Explainer& BoxExplainer::of(const char* output, std::int64_t against) {
  const auto found = explainers_.find({output, against});
  if (found != explainers_.end()) return found->second;
  const auto record = [this, output, against](Tape&, Var image) {
    const NamedVars outputs = model_({{"image", image}});
    const auto named = outputs.find(output);
    if (named == outputs.end()) {
      throw usage_error("this detector has no '{}' of its own: its scores are the classes'",
                        output);
    }
    const Var map = named->second;
    const Shape& s = map.shape();
    const Var numbers = reshape(map, {s[1] * s[2] * s[3]});
    return against < 0 ? numbers : sub(numbers, slice(numbers, 1, against, against + 1));
  };
  const DetectorConfig& config = model_.config();
  return explainers_
      .try_emplace({output, against}, record, Shape{config.height, config.width, 3},
                   backend_)
      .first->second;
}

explain::Attribution BoxExplainer::explain(std::string_view method, const Tensor& input,
                                           const CellNumber& what,
                                           const explain::ExplainOptions& options,
                                           const std::optional<CellNumber>& against) {
  if (against && std::string_view(output_of(*against)) != output_of(what)) {
    throw usage_error("a score can be explained against a score, a side against a side only");
  }
  explain::Explainer& explainer = of(output_of(what), against ? index_of(*against) : -1);
  const Tensor index = Tensor::from<std::int64_t>({1}, {index_of(what)});
  explain::ExplainOptions settings = options;
  if (settings.layer.empty()) settings.layer = model_.shared_map(what.y, what.x);
  if (method != "odam") {
    explain::Attribution result = explainer.explain(method, input, index, settings);
    // The logit of a box that is listed at 30 % is negative; what it is made of is the same.
    if (explain::find_method(method)->has(explain::kSignOfTarget) && result.value.item() < 0) {
      for (float& v : result.map.values<float>()) v = -v;
      if (result.residual.defined()) {
        for (float& v : result.residual.values<float>()) v = -v;
      }
    }
    return result;
  }
  explain::Attribution result = explainer.explain("hires-cam", input, index, settings);
  for (float& v : result.map.values<float>()) v = std::max(v, 0.0f);
  result.method = "odam";
  result.residual = {};
  return result;
}

std::vector<explain::Attribution> d_rise(CellReader& reader, const Tensor& input,
                                         const Tensor& baseline,
                                         std::span<const CellNumber> targets,
                                         const DRiseOptions& options) {
  const Cells whole = reader.read(input);
  std::vector<Box> boxes;
  std::vector<std::vector<double>> classes;
  for (const CellNumber& t : targets) {
    boxes.push_back(whole.box(0, t.y, t.x));
    classes.push_back(probabilities(whole, 0, t.y, t.x));
  }
  const auto count = static_cast<std::int64_t>(targets.size());
  const explain::Scores similarities = [&](const Tensor& pictures) {
    const Cells cells = reader.read(pictures);
    const std::int64_t rows = pictures.shape()[0];
    Tensor scores(Type{DType::f32, {rows, count}});
    for (std::int64_t i = 0; i < rows * count; ++i) {
      const auto t = static_cast<std::size_t>(i % count);
      scores.values<float>()[static_cast<std::size_t>(i)] =
          static_cast<float>(most_similar(cells, i / count, boxes[t], classes[t]));
    }
    return scores;
  };
  const explain::Estimate estimate =
      explain::rise(similarities, input, baseline, options.cells, options.masks, options.seed,
                    options.chunk, count);
  std::vector<explain::Attribution> all;
  for (std::int64_t t = 0; t < count; ++t) {
    const auto i = static_cast<std::size_t>(t);
    explain::Attribution a;
    a.method = "d-rise";
    a.node = "image";
    a.map = estimate.map.rows(t, t + 1);
    a.value = Tensor::full({DType::f32, {1}}, most_similar(whole, 0, boxes[i], classes[i]));
    a.error_estimate = estimate.error.rows(t, t + 1);
    // One run serves them all.
    a.forward_passes = (estimate.points + 1.0) / static_cast<double>(count);
    all.push_back(a);
  }
  return all;
}

}  // namespace tapescope::detection
