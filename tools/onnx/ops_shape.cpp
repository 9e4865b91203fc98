// Ops that only say what an element's place is.
#include <algorithm>

#include "tools/onnx/ops.h"

namespace tapescope::onnx {
namespace {

Shape shape_from(const std::vector<std::int64_t>& extents) {
  return Shape(std::span<const std::int64_t>(extents));
}

// The extents of one sample, and the place of the batch among them, -1 where there is none.
struct Extents {
  std::vector<Number> all;
};

std::vector<Number> numbers_of(const Value& value) {
  std::vector<Number> all;
  const Shape extents = extents_of(value);
  for (int a = 0; a < extents.rank(); ++a) {
    all.push_back(a == value.batch_axis() ? Number{1, 0} : Number{0, extents[a]});
  }
  return all;
}

std::int64_t checked_product(const std::vector<Number>& numbers, std::size_t except) {
  std::int64_t product = 1;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (i == except || numbers[i].n != 0) continue;
    if (__builtin_mul_overflow(product, numbers[i].c, &product)) {
      throw usage_error("its shape is too large");
    }
  }
  return product;
}

// -1 becomes what is left over. `per_sample`: elements of the operand, its batch aside.
void fill_in(std::vector<Number>& target, std::int64_t per_sample, bool batched) {
  const auto open = std::find(target.begin(), target.end(), Number{0, -1});
  if (open == target.end()) return;
  const auto at = static_cast<std::size_t>(open - target.begin());
  const std::int64_t rest = checked_product(target, at);
  const bool has_batch =
      std::any_of(target.begin(), target.end(), [](const Number& d) { return d.n != 0; });
  if (batched && !has_batch) {
    if (rest == per_sample) {
      *open = {1, 0};
      return;
    }
    if (!target.empty() && target[0] == Number{0, 1} && at != 0) {  // exported for a batch of 1
      target[0] = {1, 0};
    } else {
      throw usage_error(
          "its shape depends on the batch size in a way that only a fixed batch allows; export it "
          "with the batch as the first extent");
    }
  }
  if (rest == 0 || per_sample % rest != 0) {
    throw usage_error("{} elements cannot become {} times something", per_sample, rest);
  }
  *open = {0, per_sample / rest};
}

}  // namespace

Shape resolve_reshape(const Call& call, const Value& value, std::vector<Number> target,
                      int& batch) {
  const std::vector<Number> before = numbers_of(value);
  if (call.whole("allowzero", 0) == 0) {
    for (std::size_t i = 0; i < target.size(); ++i) {
      if (target[i] == Number{0, 0}) {
        if (i >= before.size()) throw usage_error("extent {} is 0, but there is none to keep", i);
        target[i] = before[i];
      }
    }
  }
  const std::int64_t per_sample = checked_product(before, before.size());
  fill_in(target, per_sample, value.batched);
  const auto counts = [](const Number& d) { return d.n != 0; };
  const auto at = std::find_if(target.begin(), target.end(), counts);
  if (value.batched && at == target.end() && !target.empty() && target[0] == Number{0, 1} &&
      checked_product(target, 0) == per_sample) {
    target[0] = {1, 0};  // exported for a batch of 1
  }
  batch = -1;
  std::vector<std::int64_t> extents;
  for (std::size_t i = 0; i < target.size(); ++i) {
    if (target[i].n != 0) {
      if (target[i] != Number{1, 0} || batch >= 0 || !value.batched) {
        throw usage_error("extent {} of its shape is a multiple of the batch size", i);
      }
      batch = static_cast<int>(i);
      extents.push_back(value.var.shape()[0]);
    } else {
      if (target[i].c < 0) throw usage_error("extent {} of its shape is negative", i);
      extents.push_back(target[i].c);
    }
  }
  if (extents.size() > static_cast<std::size_t>(Shape::kMaxRank)) {
    throw usage_error("its shape has {} axes; at most {} are read", extents.size(),
                      Shape::kMaxRank);
  }
  if (value.batched != (batch >= 0) || checked_product(target, target.size()) != per_sample) {
    throw usage_error("{} cannot become {}{}", to_string(extents_of(value)),
                      to_string(shape_from(extents)),
                      value.batched && batch < 0 ? ": the batch size is no number; export it with "
                                                   "the batch as the first extent"
                                                 : "");
  }
  if (batch >= 0) {
    const Shape from = extents_of(value);
    if (from.elements(0, value.batch_axis()) != shape_from(extents).elements(0, batch)) {
      throw usage_error("it moves elements across the batch axis");
    }
  }
  return shape_from(extents);
}

void record_reshape(Call& call) {
  const Value x = call.on_tape(0);
  int batch = -1;
  const Shape extents = resolve_reshape(call, x, call.numbers(1), batch);
  const Value y = reshaped(x, extents, batch);
  call.give(y.var, y);
}

void record_flatten(Call& call) {
  const Value x = call.on_tape(0);
  std::int64_t axis = call.whole("axis", 1);
  if (axis < 0) axis += x.rank();
  if (axis < 0 || axis > x.rank()) throw usage_error("there is no axis {}", axis);
  const int first = static_cast<int>(axis);
  const Shape extents = extents_of(x);
  if (x.batched && (x.batch_axis() != 0 || first != 1)) throw usage_error("it flattens the batch");
  const Value y = reshaped(x, {extents.elements(0, first), extents.elements(first, x.rank())},
                           x.batched ? 0 : -1);
  call.give(y.var, y);
}

namespace {

std::vector<std::int64_t> axes_of(const Call& call) {
  if (call.opset() < 13) return call.wholes("axes");
  return call.has(1) ? call.wholes_of(1) : std::vector<std::int64_t>{};
}

void give_extents(Call& call, const Value& x, const std::vector<Number>& numbers) {
  std::vector<std::int64_t> extents;
  int batch = -1;
  for (const Number& d : numbers) {
    if (d.n != 0) batch = static_cast<int>(extents.size());
    extents.push_back(d.n != 0 ? x.var.shape()[0] : d.c);
  }
  if (extents.size() > static_cast<std::size_t>(Shape::kMaxRank)) {
    throw usage_error("its output has {} axes; at most {} are read", extents.size(),
                      Shape::kMaxRank);
  }
  const Value y = reshaped(x, shape_from(extents), batch);
  call.give(y.var, y);
}

}  // namespace

void record_squeeze(Call& call) {
  const Value x = call.on_tape(0);
  std::vector<bool> out(static_cast<std::size_t>(x.rank()), false);
  const std::vector<Number> before = numbers_of(x);
  for (const std::int64_t axis : axes_of(call)) {
    const auto a = static_cast<std::size_t>(call.axis_of(axis, x.rank()));
    if (before[a] != Number{0, 1}) throw usage_error("axis {} is not of extent 1", axis);
    out[a] = true;
  }
  const bool any = std::find(out.begin(), out.end(), true) != out.end();
  std::vector<Number> after;
  for (std::size_t a = 0; a < before.size(); ++a) {
    if (any ? !out[a] : before[a] != Number{0, 1}) after.push_back(before[a]);
  }
  give_extents(call, x, after);
}

void record_unsqueeze(Call& call) {
  const Value x = call.on_tape(0);
  const std::vector<std::int64_t> axes = axes_of(call);
  const int rank = x.rank() + static_cast<int>(axes.size());
  if (rank > Shape::kMaxRank) {
    throw usage_error("its output has {} axes; at most {} are read", rank, Shape::kMaxRank);
  }
  std::vector<bool> added(static_cast<std::size_t>(rank), false);
  for (const std::int64_t axis : axes)
    added[static_cast<std::size_t>(call.axis_of(axis, rank))] = true;
  const std::vector<Number> before = numbers_of(x);
  std::vector<Number> after;
  std::size_t next = 0;
  for (const bool one : added) {
    if (!one && next == before.size()) throw usage_error("an axis is named twice");
    after.push_back(one ? Number{0, 1} : before[next++]);
  }
  give_extents(call, x, after);
}

void record_transpose(Call& call) {
  const Value x = call.on_tape(0);
  Value y = x;
  std::vector<std::int64_t> order = call.wholes("perm");
  if (!call.says("perm")) {
    for (int a = x.rank(); a-- > 0;) order.push_back(a);
  }
  unsigned seen = 0;
  if (order.size() != x.layout.size()) throw usage_error("its perm has {} axes", order.size());
  for (std::size_t a = 0; a < order.size(); ++a) {
    const int axis = call.axis_of(order[a], x.rank());
    seen |= 1u << axis;
    y.layout[a] = x.layout[static_cast<std::size_t>(axis)];
  }
  if (seen != (1u << order.size()) - 1u) throw usage_error("its perm names an axis twice");
  call.give(y.var, y);
}

void record_identity(Call& call) { call.give(call.operand(0)); }

void record_shape(Call& call) {
  const Value& x = call.operand(0);
  std::vector<Number> extents = numbers_of(x);
  if (call.op() == "Size") {
    auto size = call.make(Element::i64, {});
    const std::int64_t product = checked_product(extents, extents.size());
    put(*size, 0, x.batched ? Number{product, 0} : Number{0, product});
    return call.give(size);
  }
  const auto rank = static_cast<std::int64_t>(extents.size());
  const auto bound = [&](std::int64_t at) {
    return std::clamp<std::int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  const std::int64_t begin = bound(call.whole("start", 0));
  const std::int64_t end = std::max(begin, bound(call.whole("end", rank)));
  auto shape = call.make(Element::i64, {end - begin});
  for (std::int64_t i = begin; i < end; ++i) {
    put(*shape, i - begin, extents[static_cast<std::size_t>(i)]);
  }
  call.give(shape);
}

void record_expand(Call& call) {
  const Value x = call.on_tape(0);
  const std::vector<Number> target = call.numbers(1);
  const int rank = std::max(x.rank(), static_cast<int>(target.size()));
  if (rank > Shape::kMaxRank) throw usage_error("its output has {} axes", rank);
  Value y = x;
  y.layout = widened(x.layout, rank, x.batched);
  Shape ones(std::vector<std::int64_t>(static_cast<std::size_t>(rank), 1));
  for (std::size_t i = 0; i < target.size(); ++i) {
    const int axis = rank - static_cast<int>(target.size()) + static_cast<int>(i);
    if (target[i].n != 0) {  // the batch's own axis keeps its rows
      if (axis == y.batch_axis() && target[i] == Number{1, 0}) continue;
      throw usage_error("it repeats something for each row of the batch");
    }
    if (axis == y.batch_axis()) {
      if (target[i].c == 1) continue;
      throw usage_error("its shape gives the batch as a number");
    }
    ones[y.layout[static_cast<std::size_t>(axis)]] = target[i].c;
  }
  auto repeated = call.make(Element::f32, ones);
  for (std::int64_t i = 0; i < repeated->elements(); ++i) put(*repeated, i, 1.0);
  const Var wide = call.arranged(0, y.layout);
  call.give(mul(wide, call.tape().constant(repeated->numbers.to(wide.dtype()))), y);
}

namespace {

// {N, H, W, C} with its axes split and put together in another order.
void rearrange(Call& call, const Value& x, const Shape& split, std::span<const int> order,
               const Shape& result) {
  const Var parts = shaped(x.var, split, x.batched);
  call.give(shaped(transpose(parts, order), result, x.batched), x);
}

Value image_value(const Call& call) {
  Value x = call.operand(0);
  if (x.rank() != 4) throw usage_error("its operand has {} axes; it must have 4", x.rank());
  x.var = call.arranged(0, image_layout(4));
  x.layout = image_layout(4);
  return x;
}

}  // namespace

void record_depth_to_space(Call& call) {
  const Value x = image_value(call);
  const std::int64_t b = call.whole("blocksize", 0);
  const Shape& s = x.var.shape();
  if (b < 1 || b > 4096 || s[3] % (b * b) != 0) {
    throw usage_error("{} channels in blocks of {}x{}", s[3], b, b);
  }
  const std::int64_t channels = s[3] / (b * b);
  const Shape result = {s[0], s[1] * b, s[2] * b, channels};
  // Axes 0..5 of the split are N, H, W and the three that the channels are made of.
  if (call.text("mode", "DCR") == "CRD") {
    const int order[] = {0, 1, 4, 2, 5, 3};
    return rearrange(call, x, {s[0], s[1], s[2], channels, b, b}, order, result);
  }
  const int order[] = {0, 1, 3, 2, 4, 5};
  rearrange(call, x, {s[0], s[1], s[2], b, b, channels}, order, result);
}

void record_space_to_depth(Call& call) {
  const Value x = image_value(call);
  const std::int64_t b = call.whole("blocksize", 0);
  const Shape& s = x.var.shape();
  if (b < 1 || b > 4096 || s[1] % b != 0 || s[2] % b != 0) {
    throw usage_error("{}x{} positions in blocks of {}x{}", s[1], s[2], b, b);
  }
  const int order[] = {0, 1, 3, 2, 4, 5};
  rearrange(call, x, {s[0], s[1] / b, b, s[2] / b, b, s[3]}, order,
            {s[0], s[1] / b, s[2] / b, s[3] * b * b});
}

}  // namespace tapescope::onnx
