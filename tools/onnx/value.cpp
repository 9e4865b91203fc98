#include "tools/onnx/value.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/thread_pool.h"

namespace tapescope::onnx {
namespace {

Layout inverse(const Layout& layout) {
  Layout order(layout.size());
  for (std::size_t a = 0; a < layout.size(); ++a) {
    order[static_cast<std::size_t>(layout[a])] = static_cast<int>(a);
  }
  return order;
}

// ONNX's axes longer than 1 (the batch is long) in the order in which they lie in memory.
std::vector<int> long_axes(const Shape& extents, const Layout& layout, int batch) {
  std::vector<int> order;
  for (const int axis : inverse(layout)) {
    if (axis == batch || extents[axis] != 1) order.push_back(axis);
  }
  return order;
}

Shape in_memory(const Shape& extents, const Layout& layout) {
  Shape memory = extents;
  for (std::size_t a = 0; a < layout.size(); ++a) memory[layout[a]] = extents[static_cast<int>(a)];
  return memory;
}

// Extents with axes of 1 in front, up to `rank`.
Shape wide_extents(const Shape& shape, int rank) {
  const int more = rank - shape.rank();
  Shape extents(std::vector<std::int64_t>(static_cast<std::size_t>(rank), 1));
  for (int a = more; a < rank; ++a) extents[a] = shape[a - more];
  return extents;
}

}  // namespace

int Value::batch_axis() const {
  if (!batched) return -1;
  return static_cast<int>(std::find(layout.begin(), layout.end(), 0) - layout.begin());
}

Shape extents_of(const Value& value) {
  if (value.known) return value.known->shape();
  Shape extents = value.var.shape();
  for (int a = 0; a < value.rank(); ++a) {
    extents[a] = value.var.shape()[value.layout[static_cast<std::size_t>(a)]];
  }
  return extents;
}

Layout plain_layout(int rank) {
  Layout layout(static_cast<std::size_t>(rank));
  std::iota(layout.begin(), layout.end(), 0);
  return layout;
}

Layout image_layout(int rank) {
  Layout layout = plain_layout(rank);
  if (rank < 3) return layout;
  layout[1] = rank - 1;
  for (int a = 2; a < rank; ++a) layout[static_cast<std::size_t>(a)] = a - 1;
  return layout;
}

Layout ordered_layout(const Value& value) {
  Layout layout = plain_layout(value.rank());
  const int batch = value.batch_axis();
  for (int a = 0; a < batch; ++a) ++layout[static_cast<std::size_t>(a)];
  if (batch > 0) layout[static_cast<std::size_t>(batch)] = 0;
  return layout;
}

Layout last_layout(const Value& value, int axis) {
  Layout layout = ordered_layout(value);
  const int from = layout[static_cast<std::size_t>(axis)];
  for (int& place : layout) {
    if (place > from) --place;
  }
  layout[static_cast<std::size_t>(axis)] = value.rank() - 1;
  return layout;
}

Layout widened(const Layout& layout, int rank, bool batched) {
  const int more = rank - static_cast<int>(layout.size());
  Layout wide;
  for (int a = 0; a < more; ++a) wide.push_back(batched ? a + 1 : a);
  for (const int place : layout) wide.push_back(batched && place == 0 ? 0 : place + more);
  return wide;
}

Var shaped(Var x, const Shape& memory, bool batched) {
  if (x.shape() == memory) return x;
  return batched ? reshape(x, memory.without_leading()) : reshape_all(x, memory);
}

Var arranged(const Value& value, const Layout& layout) {
  if (value.layout == layout) return value.var;
  const Shape extents = extents_of(value);
  const int batch = value.batch_axis();
  const Shape memory = in_memory(extents, layout);
  Var x = value.var;
  if (long_axes(extents, value.layout, batch) != long_axes(extents, layout, batch)) {
    std::vector<int> permutation(layout.size());
    for (std::size_t a = 0; a < layout.size(); ++a) {
      permutation[static_cast<std::size_t>(layout[a])] = value.layout[a];
    }
    x = transpose(x, permutation);
  }
  return shaped(x, memory, value.batched);
}

Shape arranged_shape(const Known& known, const Layout& layout) {
  return in_memory(wide_extents(known.shape(), static_cast<int>(layout.size())), layout);
}

Tensor arranged(const Known& known, const Layout& layout) {
  const int rank = static_cast<int>(layout.size());
  const Shape extents = wide_extents(known.shape(), rank), memory = in_memory(extents, layout);
  if (memory.elements() == 0 ||
      long_axes(extents, layout, -1) == long_axes(extents, plain_layout(rank), -1)) {
    return known.numbers.reshape(memory);
  }
  Tensor moved(Type{known.numbers.dtype(), memory});
  const Layout order = inverse(layout);
  const auto step = [&](int place) {  // among ONNX's numbers, for one along an axis of the memory
    return extents.elements(order[static_cast<std::size_t>(place)] + 1, rank);
  };
  const std::int64_t line = memory[rank - 1], stride = step(rank - 1);
  const auto move = [&](auto to, auto from) {
    parallel_ranges(memory.elements() / line, std::max<std::int64_t>(1, (1 << 14) / line),
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t row = begin; row < end; ++row) {
                        std::int64_t at = 0, rest = row;
                        for (int place = rank - 2; place >= 0; rest /= memory[place--]) {
                          at += rest % memory[place] * step(place);
                        }
                        const auto* source = from.data() + at;
                        auto* target = to.data() + row * line;
                        for (std::int64_t i = 0; i < line; ++i) target[i] = source[i * stride];
                      }
                    });
  };
  if (known.numbers.dtype() == DType::f32) {
    move(moved.values<float>(), known.numbers.values<float>());
  } else if (known.numbers.dtype() == DType::f64) {
    move(moved.values<double>(), known.numbers.values<double>());
  } else {
    move(moved.values<std::int64_t>(), known.numbers.values<std::int64_t>());
  }
  return moved;
}

namespace {

// Axes [from, from_end) become [to, to_end): as few of each as have the same product.
struct Group {
  int from, from_end, to, to_end;
};

// The axes [a, a_end) of `before` and [b, b_end) of `after` in groups.
void group_axes(const Shape& before, int a, int a_end, const Shape& after, int b, int b_end,
                std::vector<Group>& groups) {
  while (a < a_end || b < b_end) {
    Group g{a, a, b, b};
    std::int64_t in = 1, out = 1;
    do {
      if (g.to_end == b_end || (g.from_end < a_end && in <= out)) {
        in *= before[g.from_end++];
      } else {
        out *= after[g.to_end++];
      }
    } while (in != out && (g.from_end < a_end || g.to_end < b_end));
    a = g.from_end, b = g.to_end;
    groups.push_back(g);
  }
}

// Whether each group's axes lie one behind the other in memory, those of extent 1 aside.
bool lie_together(const Shape& extents, const Layout& layout, int batch,
                  const std::vector<Group>& groups) {
  const std::vector<int> order = long_axes(extents, layout, batch);
  for (const Group& g : groups) {
    std::ptrdiff_t last = -1;
    for (int a = g.from; a < g.from_end; ++a) {
      const auto at = std::find(order.begin(), order.end(), a);
      if (at == order.end()) continue;
      const std::ptrdiff_t place = at - order.begin();
      if (last >= 0 && place != last + 1) return false;
      last = place;
    }
  }
  return true;
}

// The layout in which they do: each group where its first axis in memory lies, its axes in ONNX's
// order.
Layout together(const Layout& layout, const std::vector<Group>& groups) {
  Layout result(layout.size(), -1);
  int next = 0;
  for (const int axis : inverse(layout)) {
    for (const Group& g : groups) {
      if (axis < g.from || axis >= g.from_end || result[static_cast<std::size_t>(axis)] >= 0)
        continue;
      for (int a = g.from; a < g.from_end; ++a) result[static_cast<std::size_t>(a)] = next++;
    }
  }
  return result;
}

// The groups' new axes, group by group in the order in which the old ones lie in memory.
Layout layout_of(const Shape& extents, const Layout& layout, int batch, std::vector<Group> groups,
                 int rank) {
  const std::vector<int> order = long_axes(extents, layout, batch);
  const auto place = [&](const Group& g) {
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (order[i] >= g.from && order[i] < g.from_end) return i;
    }
    return order.size();
  };
  std::stable_sort(groups.begin(), groups.end(),
                   [&](const Group& a, const Group& b) { return place(a) < place(b); });
  Layout result(static_cast<std::size_t>(rank));
  int next = 0;
  for (const Group& g : groups) {
    for (int b = g.to; b < g.to_end; ++b) result[static_cast<std::size_t>(b)] = next++;
  }
  return result;
}

}  // namespace

Value reshaped(const Value& value, const Shape& extents, int batch) {
  const Shape before = extents_of(value);
  const int from_batch = value.batch_axis();
  std::vector<Group> groups;
  if (value.batched) {
    group_axes(before, 0, from_batch, extents, 0, batch, groups);
    groups.push_back({from_batch, from_batch + 1, batch, batch + 1});
    group_axes(before, from_batch + 1, before.rank(), extents, batch + 1, extents.rank(), groups);
  } else {
    group_axes(before, 0, before.rank(), extents, 0, extents.rank(), groups);
  }
  Value result = value;
  if (before.elements() == 0 || !lie_together(before, value.layout, from_batch, groups)) {
    result.layout = together(value.layout, groups);
    result.var = arranged(value, result.layout);
  }
  result.layout = layout_of(before, result.layout, from_batch, groups, extents.rank());
  result.var = shaped(result.var, in_memory(extents, result.layout), value.batched);
  return result;
}

std::shared_ptr<Known> make_known(Element type, Shape shape) {
  return std::make_shared<Known>(Known{type, Tensor(Type{held_in(type, "a constant"), shape})});
}

double real_at(const Known& known, std::int64_t i) { return known.numbers.item(i); }

Number number_at(const Known& known, std::int64_t i) {
  const auto at = static_cast<std::size_t>(i);
  return {known.batch.empty() ? 0 : known.batch[at], known.numbers.values<std::int64_t>()[at]};
}

void put(Known& known, std::int64_t i, double value) {
  const auto at = static_cast<std::size_t>(i);
  switch (known.numbers.dtype()) {
    case DType::f32:
      known.numbers.values<float>()[at] = static_cast<float>(value);
      return;
    case DType::f64:
      known.numbers.values<double>()[at] = value;
      return;
    default: {
      constexpr double kLargest = 9223372036854774784.0;  // the largest double below 2^63
      const double whole =
          std::isnan(value) ? 0 : std::clamp(std::trunc(value), -kLargest, kLargest);
      put(known, i, Number{0, static_cast<std::int64_t>(whole)});
    }
  }
}

void put(Known& known, std::int64_t i, Number value) {
  const auto at = static_cast<std::size_t>(i);
  if (known.numbers.dtype() != DType::i64) return put(known, i, static_cast<double>(value.c));
  if (known.type == Element::i32) value.c = static_cast<std::int32_t>(value.c);
  if (known.type == Element::u8) value.c = static_cast<std::uint8_t>(value.c);
  if (known.type == Element::boolean) value.c = value.c != 0;
  known.numbers.values<std::int64_t>()[at] = value.c;
  if (value.n != 0 && known.batch.empty()) {
    known.batch.resize(static_cast<std::size_t>(known.elements()), 0);
  }
  if (!known.batch.empty()) known.batch[at] = value.n;
}

}  // namespace tapescope::onnx
