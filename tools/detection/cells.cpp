#include "tools/detection/cells.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "autograd/tape.h"

namespace tapescope::detection {
namespace {

constexpr double kFound = 0.5;  // least IoU of a box with the object it finds

// The surest cell of the nine around this one, and itself; itself where peaks do not count.
std::pair<int, int> surest_neighbour(const Cells& cells, int y, int x, int category) {
  std::pair<int, int> best{y, x};
  if (!cells.selection.peaks) return best;
  for (int r = std::max(0, y - 1); r <= std::min<int>(y + 1, static_cast<int>(cells.height()) - 1);
       ++r) {
    for (int c = std::max(0, x - 1); c <= std::min<int>(x + 1, static_cast<int>(cells.width()) - 1);
         ++c) {
      if (cells.at(0, r, c, category) > cells.at(0, best.first, best.second, category)) {
        best = {r, c};
      }
    }
  }
  return best;
}

std::vector<Seen> peaks(const Cells& cells, float threshold) {
  std::vector<Seen> found;
  for (int y = 0; y < cells.height(); ++y) {
    for (int x = 0; x < cells.width(); ++x) {
      for (int k = 0; k < cells.classes(); ++k) {
        const float score = cells.at(0, y, x, k);
        if (!(score > threshold) || surest_neighbour(cells, y, x, k) != std::pair{y, x}) continue;
        found.push_back({cells.box(0, y, x), k, score, y, x});
      }
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Seen& a, const Seen& b) { return a.score > b.score; });
  return found;
}

double suppression(const Cells& cells, const DetectOptions& options) {
  return options.nms > 0 ? options.nms : cells.selection.nms;
}

bool is_at(const Seen& seen, int y, int x, int category) {
  return seen.cell_y == y && seen.cell_x == x && seen.category == category;
}

}  // namespace

float Cells::at(std::int64_t n, std::int64_t y, std::int64_t x, int category) const {
  const std::int64_t i = ((n * height() + y) * width() + x) * classes() + category;
  return probability.values<float>()[static_cast<std::size_t>(i)];
}

Box Cells::box(std::int64_t n, std::int64_t y, std::int64_t x) const {
  const auto b = boxes.values<float>().subspan(
      static_cast<std::size_t>(((n * height() + y) * width() + x) * 4), 4);
  return {b[0], b[1], b[2] - b[0], b[3] - b[1]};
}

CellReader::CellReader(const BoxNet& model, const Backend& backend)
    : program_(compile(model, backend,
                       [&model](const NamedVars& outputs) {
                         const CellVars cells = model.cells(outputs);
                         return std::vector{cells.probability, cells.boxes};
                       })),
      grid_(model.grid()),
      selection_(model.selection()) {}

Cells CellReader::read(const Tensor& inputs) {
  const std::vector<Tensor> out = program_.run({{"image", inputs}});
  return {out[0], out[1], grid_, selection_};
}

std::vector<Seen> listed(const Cells& cells, const DetectOptions& options) {
  std::vector<Seen> found = peaks(cells, options.threshold);
  const auto most = static_cast<std::size_t>(options.most);
  if (cells.selection.nms > 0) return suppress(std::move(found), suppression(cells, options), most);
  if (found.size() > most) found.resize(most);
  return options.nms > 0 ? suppress(std::move(found), options.nms) : found;
}

Verdict verdict_of(const Cells& cells, int y, int x, int category, const DetectOptions& options) {
  Verdict verdict;
  verdict.score = cells.at(0, y, x, category);
  verdict.nms = suppression(cells, options);
  const auto stands = [&](int by_y, int by_x) {
    verdict.by_y = by_y;
    verdict.by_x = by_x;
    verdict.by = cells.grid.name(by_y, by_x);
    verdict.by_score = cells.at(0, by_y, by_x, category);
    verdict.overlap = iou(cells.box(0, y, x), cells.box(0, by_y, by_x));
  };
  std::pair<int, int> at{y, x};
  while (true) {
    const std::pair<int, int> next = surest_neighbour(cells, at.first, at.second, category);
    if (next == at) break;
    at = next;
  }
  stands(at.first, at.second);
  if (!(verdict.score > options.threshold)) {
    verdict.fate = Fate::unsure;
  } else if (at != std::pair{y, x}) {
    verdict.fate = Fate::beaten;
  } else {
    const std::vector<Seen> kept = listed(cells, options);
    const auto here = [&](const Seen& s) { return is_at(s, y, x, category); };
    if (std::any_of(kept.begin(), kept.end(), here)) return verdict;
    verdict.fate = Fate::crowded;
    for (const Seen& other : kept) {
      const double overlap = iou(other.box, cells.box(0, y, x));
      if (verdict.nms <= 0 || other.category != category || other.score < verdict.score ||
          !(overlap > verdict.nms)) {
        continue;
      }
      verdict.fate = Fate::covered;
      stands(other.cell_y, other.cell_x);
      break;
    }
  }
  return verdict;
}

std::string to_text(const Verdict& v, const DetectOptions& options) {
  switch (v.fate) {
    case Fate::listed:
      return fmt::format("is listed, at {:.2f}", v.score);
    case Fate::unsure:
      return fmt::format(
          "is not listed: {:.2g} is not above the threshold of {}{}", v.score, options.threshold,
          v.by_score > options.threshold
              ? fmt::format("; the peak it belongs to, cell {}, is at {:.2f}", v.by, v.by_score)
              : "");
    case Fate::beaten:
      return fmt::format(
          "is not listed: {:.2f} is no peak, the one it belongs to is cell {} at "
          "{:.2f}, whose box has an IoU of {:.2f} with its own",
          v.score, v.by, v.by_score, v.overlap);
    case Fate::covered:
      return fmt::format(
          "is suppressed: the box of cell {}, surer with {:.2f}, has an IoU of "
          "{:.2f} with it, more than {}",
          v.by, v.by_score, v.overlap, v.nms);
    case Fate::crowded:
      return fmt::format("is not listed: {} others are surer than {:.2f}", options.most, v.score);
  }
  return "";
}

Missed best_cell(const Cells& cells, const Object& object, const DetectOptions& options) {
  Missed m;
  m.object = object;
  m.overlap = -1;
  for (int y = 0; y < cells.height(); ++y) {
    for (int x = 0; x < cells.width(); ++x) {
      const double overlap = iou(cells.box(0, y, x), object.box);
      if (overlap < m.overlap) continue;
      if (overlap == m.overlap &&
          cells.at(0, y, x, object.category) <= cells.at(0, m.y, m.x, object.category)) {
        continue;
      }
      m.overlap = overlap;
      m.y = y;
      m.x = x;
    }
  }
  for (int k = 0; k < cells.classes(); ++k) {
    const float p = cells.at(0, m.y, m.x, k);
    if (p > m.surest) {
      m.surest = p;
      m.category = k;
    }
  }
  m.verdict = verdict_of(cells, m.y, m.x, object.category, options);
  return m;
}

std::vector<Missed> missed(const Cells& cells, std::span<const Object> objects,
                           const DetectOptions& options) {
  std::vector<bool> found(objects.size(), false);
  for (const Seen& seen : listed(cells, options)) {
    std::optional<std::size_t> best;
    double overlap = kFound;
    for (std::size_t i = 0; i < objects.size(); ++i) {
      const double o = iou(seen.box, objects[i].box);
      if (found[i] || objects[i].category != seen.category || o < overlap) continue;
      if (best && o == overlap) continue;
      best = i;
      overlap = o;
    }
    if (best) found[*best] = true;
  }
  std::vector<Missed> all;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    const Object& object = objects[i];
    if (found[i] || object.crowd || object.difficult) continue;
    all.push_back(best_cell(cells, object, options));
  }
  return all;
}

}  // namespace tapescope::detection
