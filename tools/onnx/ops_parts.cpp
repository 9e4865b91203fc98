// Ops that take apart and put together.
#include <algorithm>

#include "tools/onnx/ops.h"

namespace tapescope::onnx {
namespace {

constexpr std::size_t kMostParts = kMostOperands - 1;

// However many parts, a few at a time.
Var joined(std::vector<Var> parts, int axis) {
  while (parts.size() > 1) {
    std::vector<Var> fewer;
    for (std::size_t i = 0; i < parts.size(); i += kMostParts) {
      const std::size_t count = std::min(kMostParts, parts.size() - i);
      fewer.push_back(count == 1 ? parts[i] : concat(std::span(parts).subspan(i, count), axis));
    }
    parts = std::move(fewer);
  }
  return parts[0];
}

// The axis of x's memory that ONNX's `axis` is; not the batch.
int place_of(const Value& x, int axis) {
  if (axis == x.batch_axis()) throw usage_error("it works along the batch axis");
  return x.layout[static_cast<std::size_t>(axis)];
}

Var part(Var x, int axis, std::int64_t begin, std::int64_t end) {
  return begin == 0 && end == x.shape()[axis] ? x : slice(x, axis, begin, end);
}

}  // namespace

void record_concat(Call& call) {
  int lead = -1;
  for (int i = 0; i < call.operands(); ++i) {
    if (call.operand(i).known || (lead >= 0 && call.operand(lead).batched)) continue;
    if (lead < 0 || call.operand(i).batched) lead = i;
  }
  Value like = call.on_tape(std::max(lead, 0));
  const int axis = call.axis_of(call.whole("axis", 1), like.rank());
  std::vector<Var> parts;
  for (int i = 0; i < call.operands(); ++i) {
    if (call.operand(i).rank() != like.rank())
      throw usage_error("its operands differ in their axes");
    if (like.batched && !call.operand(i).batched) {
      throw usage_error(
          "operand {} is the same for every row of the batch (a class token?), which is not read "
          "as a "
          "net of any batch size; `predict --raw` runs the graph with the batch it was given",
          i);
    }
    parts.push_back(call.arranged(i, like.layout));
  }
  call.give(joined(std::move(parts), place_of(like, axis)), like);
}

std::vector<std::int64_t> split_sizes(const Call& call, std::int64_t extent) {
  std::vector<std::int64_t> sizes = call.opset() < 13 ? call.wholes("split")
                                    : call.has(1)     ? call.wholes_of(1)
                                                      : std::vector<std::int64_t>{};
  if (sizes.empty()) {
    const std::int64_t parts = call.whole("num_outputs", call.results());
    if (parts < 1 || parts > call.results()) throw usage_error("it has {} outputs", parts);
    const std::int64_t each = (extent + parts - 1) / parts;
    for (std::int64_t i = 0; i < parts; ++i) {
      sizes.push_back(std::clamp<std::int64_t>(extent - i * each, 0, each));
    }
  }
  std::int64_t left = extent;
  for (const std::int64_t size : sizes) {
    if (size < 0 || size > left)
      throw usage_error("its parts are more than an extent of {}", extent);
    left -= size;
  }
  if (left != 0 || sizes.size() != static_cast<std::size_t>(call.results())) {
    throw usage_error("its {} parts do not make up an extent of {}", sizes.size(), extent);
  }
  return sizes;
}

void record_split(Call& call) {
  const Value x = call.on_tape(0);
  const int axis = call.axis_of(call.whole("axis", 0), x.rank());
  const int place = place_of(x, axis);
  std::int64_t begin = 0;
  int output = 0;
  for (const std::int64_t size : split_sizes(call, extents_of(x)[axis])) {
    call.give(part(x.var, place, begin, begin + size), x, output++);
    begin += size;
  }
}

std::vector<Range> slice_ranges(const Call& call, const Shape& extents, int batch) {
  const bool old = call.opset() < 10;
  const std::vector<std::int64_t> starts = old ? call.wholes("starts") : call.wholes_of(1);
  std::vector<Number> ends;
  if (old) {
    for (const std::int64_t end : call.wholes("ends")) ends.push_back({0, end});
  } else {
    ends = call.numbers(2);
  }
  std::vector<std::int64_t> axes = old           ? call.wholes("axes")
                                   : call.has(3) ? call.wholes_of(3)
                                                 : std::vector<std::int64_t>{};
  const std::vector<std::int64_t> steps =
      call.has(4) ? call.wholes_of(4) : std::vector<std::int64_t>(starts.size(), 1);
  if (axes.empty()) {
    for (std::size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<std::int64_t>(i));
  }
  if (ends.size() != starts.size() || axes.size() != starts.size() ||
      steps.size() != starts.size()) {
    throw usage_error("starts, ends, axes and steps are not of one length");
  }
  std::vector<Range> ranges;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const int axis = call.axis_of(axes[i], extents.rank());
    const std::int64_t extent = extents[axis], step = steps[i];
    if (step == 0 || step == INT64_MIN) throw usage_error("a step of {}", step);
    if (axis == batch) {
      const bool all = step == 1 && starts[i] == 0 &&
                       (ends[i] == Number{1, 0} || (ends[i].n == 0 && ends[i].c >= INT32_MAX));
      if (!all) throw usage_error("it works along the batch axis");
      continue;
    }
    if (ends[i].n != 0) throw usage_error("its end depends on the batch size");
    const std::int64_t low = step > 0 ? 0 : -1, high = step > 0 ? extent : extent - 1;
    const auto bound = [&](std::int64_t at) {
      if (at < 0) at = at < -extent ? low : at + extent;
      return std::clamp(at, low, high);
    };
    const std::int64_t start = bound(starts[i]), end = bound(ends[i].c);
    const std::int64_t reach = step > 0 ? end - start : start - end;
    const std::int64_t stride = step > 0 ? step : -step;
    const std::int64_t count = reach <= 0 ? 0 : (reach - 1) / stride + 1;
    ranges.push_back({axis, count == 0 ? 0 : start, step, count});
  }
  return ranges;
}

Var strided(Var x, int axis, std::int64_t start, std::int64_t step, std::int64_t count) {
  if (step == 1 || count <= 1) return part(x, axis, start, start + count);
  const std::int64_t extent = x.shape()[axis], whole = count * step;
  x = part(x, axis, start, std::min(start + whole, extent));
  if (const std::int64_t missing = whole - x.shape()[axis]; missing > 0) {
    std::vector<std::int64_t> before(static_cast<std::size_t>(x.shape().rank()), 0), after = before;
    after[static_cast<std::size_t>(axis)] = missing;
    x = pad(x, before, after);
  }
  // {.., count, step, ..} of which the first of each step is kept. The axis that follows joins the
  // steps, so that no axis is added: {.., count, step * next, ..}.
  std::vector<std::int64_t> parts(x.shape().begin(), x.shape().end());
  const auto at = static_cast<std::size_t>(axis);
  const bool batched = axis > 0;
  const bool last = axis == x.shape().rank() - 1;
  const std::int64_t next = last ? 1 : parts[at + 1];
  parts[at] = count;
  if (last) {
    parts.push_back(step);
  } else {
    parts[at + 1] = step * next;
  }
  const auto shape = [](const std::vector<std::int64_t>& extents) {
    return Shape(std::span<const std::int64_t>(extents));
  };
  x = slice(shaped(x, shape(parts), batched), axis + 1, 0, next);
  if (!last) return x;
  parts.pop_back();
  return shaped(x, shape(parts), batched);
}

Var picked(Var x, int axis, const std::vector<std::int64_t>& indices) {
  std::vector<Var> parts;
  for (std::size_t i = 0; i < indices.size();) {
    std::size_t end = i + 1;
    while (end < indices.size() && indices[end] == indices[end - 1] + 1) ++end;
    parts.push_back(part(x, axis, indices[i], indices[end - 1] + 1));
    i = end;
  }
  if (parts.empty()) return slice(x, axis, 0, 0);
  if (parts.size() > 4096) throw usage_error("it picks {} separate parts", parts.size());
  return joined(std::move(parts), axis);
}

void record_slice(Call& call) {
  Value x = call.on_tape(0);
  for (const Range& r : slice_ranges(call, extents_of(x), x.batch_axis())) {
    const int place = place_of(x, r.axis);
    if (r.step > 0) {
      x.var = strided(x.var, place, r.start, r.step, r.count);
      continue;
    }
    std::vector<std::int64_t> indices;
    for (std::int64_t i = 0; i < r.count; ++i) indices.push_back(r.start + i * r.step);
    x.var = picked(x.var, place, indices);
  }
  call.give(x.var, x);
}

void record_gather(Call& call) {
  Value x = call.on_tape(0);
  const int axis = call.axis_of(call.whole("axis", 0), x.rank());
  const int place = place_of(x, axis);
  const Known& which = call.known(1);
  const Shape before = extents_of(x);
  std::vector<std::int64_t> indices;
  if (which.elements() > 65536 || is_floating(which.type))
    throw usage_error("its indices are no list");
  for (std::int64_t i = 0; i < which.elements(); ++i) {
    const Number index = number_at(which, i);
    const std::int64_t at = index.c < 0 ? index.c + before[axis] : index.c;
    if (index.n != 0 || at < 0 || at >= before[axis]) {
      throw usage_error("there is no element {} along axis {} of {}", index.c, axis,
                        to_string(before));
    }
    indices.push_back(at);
  }
  x.var = picked(x.var, place, indices);
  // The axis becomes as many as the indices have.
  std::vector<std::int64_t> extents;
  int batch = x.batch_axis();
  for (int a = 0; a < before.rank(); ++a) {
    if (a != axis) {
      extents.push_back(before[a]);
      continue;
    }
    extents.insert(extents.end(), which.shape().begin(), which.shape().end());
    if (batch > a) batch += which.shape().rank() - 1;
  }
  if (extents.size() > static_cast<std::size_t>(Shape::kMaxRank)) {
    throw usage_error("its output has {} axes", extents.size());
  }
  const Value y = reshaped(x, Shape(std::span<const std::int64_t>(extents)), batch);
  call.give(y.var, y);
}

namespace {

// Margins in ONNX's axes: `before` of each, then `after` of each.
std::vector<std::int64_t> margins_of(const Call& call, int rank) {
  std::vector<std::int64_t> pads = call.opset() < 11 ? call.wholes("pads") : call.wholes_of(1);
  std::vector<std::int64_t> all(static_cast<std::size_t>(2 * rank), 0);
  std::vector<std::int64_t> axes;
  if (call.opset() >= 18 && call.has(3)) {
    for (const std::int64_t axis : call.wholes_of(3)) axes.push_back(call.axis_of(axis, rank));
  } else {
    for (int a = 0; a < rank; ++a) axes.push_back(a);
  }
  if (pads.size() != 2 * axes.size()) {
    throw usage_error("it has {} margins for {} axes", pads.size(), axes.size());
  }
  for (std::size_t i = 0; i < axes.size(); ++i) {
    all[static_cast<std::size_t>(axes[i])] = pads[i];
    all[static_cast<std::size_t>(axes[i] + rank)] = pads[i + axes.size()];
  }
  for (const std::int64_t margin : all) {
    if (margin < -(1 << 24) || margin > (1 << 24)) throw usage_error("a margin of {}", margin);
  }
  return all;
}

// The element that a place outside of an extent repeats.
std::int64_t source_of(const std::string& mode, std::int64_t at, std::int64_t extent) {
  if (mode == "edge") return std::clamp<std::int64_t>(at, 0, extent - 1);
  if (mode == "wrap") return ((at % extent) + extent) % extent;
  if (extent == 1) return 0;
  const std::int64_t period = 2 * (extent - 1);  // reflect
  const std::int64_t folded = ((at % period) + period) % period;
  return folded < extent ? folded : period - folded;
}

}  // namespace

void record_pad(Call& call) {
  Value x = call.on_tape(0);
  const int rank = x.rank();
  const std::string mode = call.text("mode", "constant");
  const std::vector<std::int64_t> margins = margins_of(call, rank);
  std::vector<std::int64_t> before(static_cast<std::size_t>(rank), 0), after = before;
  for (int a = 0; a < rank; ++a) {
    const std::int64_t front = margins[static_cast<std::size_t>(a)];
    const std::int64_t back = margins[static_cast<std::size_t>(a + rank)];
    if (front == 0 && back == 0) continue;
    const int place = place_of(x, a);
    const std::int64_t extent = x.var.shape()[place];
    if (mode != "constant") {
      std::vector<std::int64_t> indices;
      if (extent < 1) throw usage_error("an empty axis has nothing to repeat");
      for (std::int64_t i = -front; i < extent + back; ++i) {
        indices.push_back(source_of(mode, i, extent));
      }
      x.var = picked(x.var, place, indices);
      continue;
    }
    const std::int64_t cut = std::max<std::int64_t>(0, -front),
                       cut_back = std::max<std::int64_t>(0, -back);
    if (cut + cut_back > extent) throw usage_error("it cuts off more than there is");
    x.var = part(x.var, place, cut, extent - cut_back);
    before[static_cast<std::size_t>(place)] = std::max<std::int64_t>(0, front);
    after[static_cast<std::size_t>(place)] = std::max<std::int64_t>(0, back);
  }
  const double value = call.opset() < 11 ? call.real("value", 0) : call.real_of(2, 0);
  const std::vector<std::int64_t> none(static_cast<std::size_t>(rank), 0);
  if (before != none || after != none) x.var = pad(x.var, before, after, value);
  call.give(x.var, x);
}

void record_tile(Call& call) {
  const Value x = call.on_tape(0);
  const std::vector<std::int64_t> repeats = call.wholes_of(1);
  if (repeats.size() != x.layout.size()) throw usage_error("it has {} repeats", repeats.size());
  Var y = x.var;
  for (std::size_t a = 0; a < repeats.size(); ++a) {
    if (repeats[a] == 1) continue;
    if (repeats[a] < 1 || repeats[a] > 65536) throw usage_error("{} repeats", repeats[a]);
    const std::vector<Var> copies(static_cast<std::size_t>(repeats[a]), y);
    y = joined(copies, place_of(x, static_cast<int>(a)));
  }
  call.give(y, x);
}

}  // namespace tapescope::onnx
