// Known numbers made, moved and put together.
#include <algorithm>
#include <cmath>

#include "tools/onnx/ops.h"

namespace tapescope::onnx {
namespace {

Shape shape_from(const std::vector<std::int64_t>& extents) {
  return Shape(std::span<const std::int64_t>(extents));
}

void copy(Known& to, std::int64_t i, const Known& from, std::int64_t k) {
  if (is_floating(from.type)) {
    put(to, i, real_at(from, k));
  } else {
    put(to, i, number_at(from, k));
  }
}

// Numbers of `shape` whose element i is element source(i) of x. A parameter keeps its name.
template <class Source>
void give_moved(Call& call, const Shape& shape, Source source, int output = 0) {
  Value value = call.operand(0);
  const KnownRef x = value.known;
  const auto moved = call.make(x->type, shape);
  for (std::int64_t i = 0; i < moved->elements(); ++i) copy(*moved, i, *x, source(i));
  value.known = moved;
  value.name.clear();
  call.give(value, output);
}

std::vector<std::int64_t> axes_of(const Call& call) {
  if (call.opset() < 13) return call.wholes("axes");
  return call.has(1) ? call.wholes_of(1) : std::vector<std::int64_t>{};
}

Shape squeezed(const Call& call, const Shape& shape) {
  std::vector<bool> out(static_cast<std::size_t>(shape.rank()), false);
  const std::vector<std::int64_t> axes = axes_of(call);
  for (const std::int64_t axis : axes) {
    const int a = call.axis_of(axis, shape.rank());
    if (shape[a] != 1) throw usage_error("axis {} is not of extent 1", axis);
    out[static_cast<std::size_t>(a)] = true;
  }
  std::vector<std::int64_t> extents;
  for (int a = 0; a < shape.rank(); ++a) {
    if (axes.empty() ? shape[a] != 1 : !out[static_cast<std::size_t>(a)]) {
      extents.push_back(shape[a]);
    }
  }
  return shape_from(extents);
}

Shape unsqueezed(const Call& call, const Shape& shape) {
  const std::vector<std::int64_t> axes = axes_of(call);
  const int rank = shape.rank() + static_cast<int>(axes.size());
  if (rank > Shape::kMaxRank) throw usage_error("its output has {} axes", rank);
  std::vector<bool> added(static_cast<std::size_t>(rank), false);
  for (const std::int64_t axis : axes)
    added[static_cast<std::size_t>(call.axis_of(axis, rank))] = true;
  std::vector<std::int64_t> extents;
  int next = 0;
  for (const bool one : added) {
    if (!one && next == shape.rank()) throw usage_error("an axis is named twice");
    extents.push_back(one ? 1 : shape[next++]);
  }
  return shape_from(extents);
}

Shape flattened(const Call& call, const Shape& shape) {
  std::int64_t axis = call.whole("axis", 1);
  if (axis < 0) axis += shape.rank();
  if (axis < 0 || axis > shape.rank()) throw usage_error("there is no axis {}", axis);
  const int first = static_cast<int>(axis);
  return {shape.elements(0, first), shape.elements(first, shape.rank())};
}

}  // namespace

void fold_reshape(Call& call) {
  Value value = call.operand(0);
  const Shape& shape = value.known->shape();
  Shape extents;
  if (call.op() == "Squeeze") {
    extents = squeezed(call, shape);
  } else if (call.op() == "Unsqueeze") {
    extents = unsqueezed(call, shape);
  } else if (call.op() == "Flatten") {
    extents = flattened(call, shape);
  } else {
    int batch = -1;
    extents = resolve_reshape(call, value, call.numbers(1), batch);
  }
  auto numbers = std::make_shared<Known>(*value.known);  // of the same memory
  numbers->numbers = value.known->numbers.reshape(extents);
  value.known = numbers;
  call.give(value);
}

void fold_transpose(Call& call) {
  Value value = call.operand(0);
  const Shape& shape = value.known->shape();
  std::vector<std::int64_t> order = call.wholes("perm");
  if (!call.says("perm")) {
    for (int a = shape.rank(); a-- > 0;) order.push_back(a);
  }
  if (static_cast<int>(order.size()) != shape.rank()) {
    throw usage_error("its perm has {} axes", order.size());
  }
  Layout layout(order.size(), -1);
  for (std::size_t a = 0; a < order.size(); ++a) {
    int& place = layout[static_cast<std::size_t>(call.axis_of(order[a], shape.rank()))];
    if (place >= 0) throw usage_error("its perm names an axis twice");
    place = static_cast<int>(a);
  }
  if (!value.known->batch.empty()) throw usage_error("it moves the batch size");
  const auto moved = call.make(value.known->type, shape);  // counted
  moved->numbers = arranged(*value.known, layout);
  value.known = moved;
  call.give(value);
}

void fold_constant(Call& call) {
  const Attribute* tensor = call.find("value");
  if (tensor != nullptr && tensor->tensor != nullptr) {
    Value value;
    value.type = tensor->tensor->type;
    value.known = tensor->tensor;
    value.name = call.node().outputs.empty() ? "" : call.node().outputs[0];
    return call.give(value);
  }
  std::shared_ptr<Known> made;
  if (call.says("value_float")) {
    made = call.make(Element::f32, {});
    put(*made, 0, call.real("value_float", 0));
  } else if (call.says("value_int")) {
    made = call.make(Element::i64, {});
    put(*made, 0, Number{0, call.whole("value_int", 0)});
  } else if (call.says("value_ints")) {
    const std::vector<std::int64_t> values = call.wholes("value_ints");
    made = call.make(Element::i64, {static_cast<std::int64_t>(values.size())});
    for (std::size_t i = 0; i < values.size(); ++i) {
      put(*made, static_cast<std::int64_t>(i), Number{0, values[i]});
    }
  } else if (call.says("value_floats")) {
    const std::vector<float>& values = call.find("value_floats")->floats;
    made = call.make(Element::f32, {static_cast<std::int64_t>(values.size())});
    for (std::size_t i = 0; i < values.size(); ++i) {
      put(*made, static_cast<std::int64_t>(i), static_cast<double>(values[i]));
    }
  } else {
    throw usage_error("it holds neither a tensor nor numbers");
  }
  call.give(made);
}

void fold_constant_of_shape(Call& call) {
  const Attribute* given = call.find("value");
  const KnownRef value = given != nullptr ? given->tensor : nullptr;
  const std::vector<std::int64_t> extents = call.wholes_of(0);
  if (extents.size() > static_cast<std::size_t>(Shape::kMaxRank)) {
    throw usage_error("its output has {} axes", extents.size());
  }
  for (const std::int64_t extent : extents) {
    if (extent < 0) throw usage_error("an extent of {}", extent);
  }
  if (value != nullptr && value->elements() != 1) throw usage_error("its value is not one number");
  const auto result = call.make(value != nullptr ? value->type : Element::f32, shape_from(extents));
  for (std::int64_t i = 0; i < result->elements(); ++i) {
    if (value == nullptr) {
      put(*result, i, 0.0);
    } else {
      copy(*result, i, *value, 0);
    }
  }
  call.give(result);
}

void fold_range(Call& call) {
  const Known &first = call.known(0), &step = call.known(2);
  const double start = call.real_of(0, 0), limit = call.real_of(1, 0), delta = call.real_of(2, 1);
  if (!first.batch.empty() || !call.known(1).batch.empty() || !step.batch.empty()) {
    throw usage_error("it counts up to the batch size");
  }
  const double count = std::max(0.0, std::ceil((limit - start) / delta));
  if (delta == 0 || !(count <= 1e9)) throw usage_error("{} to {} by {}", start, limit, delta);
  const auto result = call.make(first.type, {static_cast<std::int64_t>(count)});
  for (std::int64_t i = 0; i < result->elements(); ++i) {
    put(*result, i, start + static_cast<double>(i) * delta);
  }
  call.give(result);
}

void fold_concat(Call& call) {
  Shape shape = call.known(0).shape();
  const int axis = call.axis_of(call.whole("axis", 1), shape.rank());
  shape[axis] = 0;
  for (int k = 0; k < call.operands(); ++k) {
    const Shape& part = call.known(k).shape();
    for (int a = 0; a < shape.rank(); ++a) {
      if (part.rank() != shape.rank() || (a != axis && part[a] != shape[a])) {
        throw usage_error("{} does not go beside {}", to_string(part),
                          to_string(call.known(0).shape()));
      }
    }
    shape[axis] += part[axis];
  }
  const auto result = call.make(call.known(0).type, shape);
  const std::int64_t inner = shape.elements(axis + 1, shape.rank());
  std::int64_t begin = 0;
  for (int k = 0; k < call.operands(); ++k) {
    const Known& part = call.known(k);
    const std::int64_t run = part.shape()[axis] * inner;
    for (std::int64_t i = 0; i < part.elements(); ++i) {
      copy(*result, i / run * shape[axis] * inner + begin + i % run, part, i);
    }
    begin += run;
  }
  call.give(result);
}

namespace {

// One axis of x reduced to the elements `indices` says, output element by output element.
template <class Index>
void give_along(Call& call, int axis, std::int64_t count, Index index, int output = 0) {
  const Shape before = call.known(0).shape();
  Shape after = before;
  after[axis] = count;
  const std::int64_t inner = before.elements(axis + 1, before.rank());
  give_moved(
      call, after,
      [&](std::int64_t i) {
        const std::int64_t outer = i / (count * inner), at = i / inner % count;
        return (outer * before[axis] + index(at)) * inner + i % inner;
      },
      output);
}

}  // namespace

void fold_split(Call& call) {
  const Shape shape = call.known(0).shape();
  const int axis = call.axis_of(call.whole("axis", 0), shape.rank());
  std::int64_t begin = 0;
  int output = 0;
  for (const std::int64_t size : split_sizes(call, shape[axis])) {
    give_along(
        call, axis, size, [&](std::int64_t i) { return begin + i; }, output++);
    begin += size;
  }
}

void fold_slice(Call& call) {
  const Shape before = call.known(0).shape();
  const std::vector<Range> ranges = slice_ranges(call, before, -1);
  Shape after = before;
  std::vector<std::int64_t> start(static_cast<std::size_t>(before.rank()), 0),
      step(start.size(), 1);
  for (const Range& r : ranges) {
    after[r.axis] = r.count;
    start[static_cast<std::size_t>(r.axis)] = r.start;
    step[static_cast<std::size_t>(r.axis)] = r.step;
  }
  give_moved(call, after, [&](std::int64_t i) {
    std::int64_t at = 0, stride = 1;
    for (int a = before.rank(); a-- > 0;) {
      const auto k = static_cast<std::size_t>(a);
      at += (start[k] + i % after[a] * step[k]) * stride;
      i /= after[a];
      stride *= before[a];
    }
    return at;
  });
}

void fold_gather(Call& call) {
  const Known& which = call.known(1);
  const Shape before = call.known(0).shape();
  const int axis = call.axis_of(call.whole("axis", 0), before.rank());
  std::vector<std::int64_t> extents;
  for (int a = 0; a < before.rank(); ++a) {
    if (a == axis) {
      extents.insert(extents.end(), which.shape().begin(), which.shape().end());
    } else {
      extents.push_back(before[a]);
    }
  }
  if (extents.size() > static_cast<std::size_t>(Shape::kMaxRank) || is_floating(which.type)) {
    throw usage_error("its output has {} axes", extents.size());
  }
  const std::int64_t inner = before.elements(axis + 1, before.rank()), count = which.elements();
  for (std::int64_t i = 0; i < count; ++i) {
    const Number n = number_at(which, i);
    if (n.n != 0 || n.c < -before[axis] || n.c >= before[axis]) {
      throw usage_error("there is no element {} along axis {} of {}", n.c, axis, to_string(before));
    }
  }
  give_moved(call, shape_from(extents), [&](std::int64_t i) {
    const std::int64_t index = number_at(which, i / inner % count).c;
    const std::int64_t at = index < 0 ? index + before[axis] : index;
    return (i / (count * inner) * before[axis] + at) * inner + i % inner;
  });
}

void fold_expand(Call& call) {
  const Shape before = call.known(0).shape();
  const std::vector<std::int64_t> given = call.wholes_of(1);
  const bool tile = call.op() == "Tile";
  const int rank = std::max(before.rank(), static_cast<int>(given.size()));
  if (rank > Shape::kMaxRank || (tile && rank != before.rank())) {
    throw usage_error("{} numbers for {} axes", given.size(), before.rank());
  }
  std::vector<std::int64_t> extents(static_cast<std::size_t>(rank), 1);
  for (int back = 1; back <= rank; ++back) {
    const std::int64_t own = back <= before.rank() ? before[before.rank() - back] : 1;
    const auto at = static_cast<std::ptrdiff_t>(given.size()) - back;
    const std::int64_t said = at >= 0 ? given[static_cast<std::size_t>(at)] : 1;
    if (said < 0 || (!tile && said != 1 && own != 1 && said != own) || (tile && said > (1 << 30))) {
      throw usage_error("an extent of {} becomes {}", own, said);
    }
    extents[static_cast<std::size_t>(rank - back)] = tile ? own * said : own == 1 ? said : own;
  }
  const Shape after = shape_from(extents);
  give_moved(call, after, [&](std::int64_t i) {
    std::int64_t at = 0, stride = 1;
    for (int back = 1; back <= rank; ++back) {
      const std::int64_t index = i % after[rank - back];
      i /= after[rank - back];
      if (back > before.rank()) continue;
      const std::int64_t own = before[before.rank() - back];
      at += index % own * stride;
      stride *= own;
    }
    return at;
  });
}

}  // namespace tapescope::onnx
