// Ops that take apart and put together: pad and slice, concat. What is cut out of or put into an
// axis is found from the operands' shapes when it runs, so that the batch axis may be one of them.
#include "autograd/ops/layout_op.h"
#include "autograd/tape.h"

namespace tapescope {
namespace {

// x[start : start + extents of like]
class SliceLike final : public LayoutOp {
 public:
  explicit SliceLike(const Shape& start) : start_(start) {}
  std::string_view name() const override { return "slice_like"; }
  void attributes(AttributeVisitor& v) const override { v.visit("start", start_); }
  Types infer(std::span<const Type> t) const override {
    const Shape &x = t[0].shape, &like = t[1].shape;
    bool fits = x.rank() == like.rank() && x.rank() == start_.rank();
    for (int a = 0; fits && a < x.rank(); ++a) fits = start_[a] + like[a] <= x[a];
    if (!fits) {
      throw usage_error("[slice_like] a part of shape {} at {} does not lie in shape {}",
                        to_string(like), to_string(start_), to_string(x));
    }
    return {{t[0].dtype, like}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    SliceShape shape{t[0].dtype, t[0].shape, extents_of(start_), extents_of(t[1].shape)};
    for (std::size_t a = 0; a < shape.stop.size(); ++a) shape.stop[a] += shape.start[a];
    return prepare_from(slice_variants(), shape, shape.dtype, backend);
  }
  void vjp(Vjp& v) const override;
  Role role(int operand) const override { return operand == 0 ? Role::signal : Role::shape; }
  bool rows_independent() const override { return start_.rank() > 0 && start_[0] == 0; }

 private:
  Shape start_;
};

// Zeros of like's shape with x put in at `start`: SliceLike's adjoint.
class PadLike final : public LayoutOp {
 public:
  explicit PadLike(const Shape& start) : start_(start) {}
  std::string_view name() const override { return "pad_like"; }
  void attributes(AttributeVisitor& v) const override { v.visit("start", start_); }
  Types infer(std::span<const Type> t) const override {
    const Shape &x = t[0].shape, &like = t[1].shape;
    bool fits = x.rank() == like.rank() && x.rank() == start_.rank();
    for (int a = 0; fits && a < x.rank(); ++a) fits = start_[a] + x[a] <= like[a];
    if (!fits) {
      throw usage_error("[pad_like] a part of shape {} at {} does not lie in shape {}",
                        to_string(x), to_string(start_), to_string(like));
    }
    return {{t[0].dtype, like}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    PadShape shape{t[0].dtype, t[0].shape, extents_of(start_), extents_of(t[1].shape), 0};
    for (int a = 0; a < t[0].shape.rank(); ++a) {
      shape.after[static_cast<std::size_t>(a)] -= start_[a] + t[0].shape[a];
    }
    return prepare_from(pad_variants(), shape, shape.dtype, backend);
  }
  void vjp(Vjp& v) const override {
    v.give(0, record<SliceLike>({v.cotangent(), v.operand(0)}, start_));
  }
  Role role(int operand) const override { return operand == 0 ? Role::signal : Role::shape; }
  bool rows_independent() const override { return start_.rank() > 0 && start_[0] == 0; }

 private:
  Shape start_;
};

void SliceLike::vjp(Vjp& v) const {
  v.give(0, record<PadLike>({v.cotangent(), v.operand(0)}, start_));
}

class Slice final : public LayoutOp {
 public:
  Slice(int axis, std::int64_t begin, std::int64_t end) : axis_(axis), begin_(begin), end_(end) {}
  std::string_view name() const override { return "slice"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("axis", std::int64_t{axis_});
    v.visit("begin", begin_);
    v.visit("end", end_);
  }
  Types infer(std::span<const Type> t) const override {
    const Shape& x = t[0].shape;
    if (axis_ < 0 || axis_ >= x.rank()) {
      throw usage_error("[slice] there is no axis {} in shape {}", axis_, to_string(x));
    }
    if (begin_ < 0 || begin_ > end_ || end_ > x[axis_]) {
      throw usage_error("[slice] [{}, {}) does not lie in axis {} of shape {}", begin_, end_, axis_,
                        to_string(x));
    }
    return {{t[0].dtype, shape_of(t[0]).out()}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(slice_variants(), shape_of(t[0]), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    Shape start = v.operand(0).shape();
    for (int a = 0; a < start.rank(); ++a) start[a] = a == axis_ ? begin_ : 0;
    v.give(0, record<PadLike>({v.cotangent(), v.operand(0)}, start));
  }
  Role role(int) const override { return Role::signal; }
  bool rows_independent() const override { return axis_ != 0; }

 private:
  SliceShape shape_of(const Type& x) const {
    SliceShape shape{x.dtype, x.shape, {}, extents_of(x.shape)};
    shape.start[static_cast<std::size_t>(axis_)] = begin_;
    shape.stop[static_cast<std::size_t>(axis_)] = end_;
    return shape;
  }
  int axis_;
  std::int64_t begin_, end_;
};

class Pad final : public LayoutOp {
 public:
  Pad(const Shape& before, const Shape& after, double value)
      : before_(before), after_(after), value_(value) {}
  std::string_view name() const override { return "pad"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("before", before_);
    v.visit("after", after_);
    v.visit("value", value_);
  }
  Types infer(std::span<const Type> t) const override {
    if (before_.rank() != t[0].shape.rank() || after_.rank() != t[0].shape.rank()) {
      throw usage_error("[pad] {} and {} must name one number for each axis of shape {}",
                        to_string(before_), to_string(after_), to_string(t[0].shape));
    }
    return {{t[0].dtype, shape_of(t[0]).out()}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    return prepare_from(pad_variants(), shape_of(t[0]), t[0].dtype, backend);
  }
  void vjp(Vjp& v) const override {
    v.give(0, record<SliceLike>({v.cotangent(), v.operand(0)}, before_));
  }
  Role role(int) const override { return Role::signal; }
  bool rows_independent() const override {
    return before_.rank() > 0 && before_[0] == 0 && after_[0] == 0;
  }
  bool keeps_signs() const override { return value_ >= 0; }
  bool has_constant_part() const override { return true; }

 private:
  PadShape shape_of(const Type& x) const {
    return {x.dtype, x.shape, extents_of(before_), extents_of(after_), value_};
  }
  Shape before_, after_;
  double value_;
};

// Operands that are equal but for their extent along one axis.
void check_parts(std::string_view op, std::span<const Type> parts, int axis) {
  const Shape& first = parts[0].shape;
  if (axis < 0 || axis >= first.rank()) {
    throw usage_error("[{}] there is no axis {} in shape {}", op, axis, to_string(first));
  }
  for (const Type& part : parts) {
    Shape same = part.shape;
    if (same.rank() == first.rank()) same[axis] = first[axis];
    if (same != first || part.dtype != parts[0].dtype) {
      throw usage_error("[{}] parts must be equal but for axis {}, not {} and {}", op, axis,
                        to_string(parts[0]), to_string(part));
    }
  }
}

// operands: whole, then every part (only their shapes are read): what part k contributed.
class ConcatPart final : public LayoutOp {
 public:
  ConcatPart(int axis, int part) : axis_(axis), part_(part) {}
  std::string_view name() const override { return "concat_part"; }
  void attributes(AttributeVisitor& v) const override {
    v.visit("axis", std::int64_t{axis_});
    v.visit("part", std::int64_t{part_});
  }
  Types infer(std::span<const Type> t) const override {
    const auto parts = t.subspan(1);
    if (part_ < 0 || part_ >= static_cast<int>(parts.size())) {
      throw usage_error("[concat_part] there is no part {} of {}", part_, parts.size());
    }
    check_parts(name(), parts, axis_);
    Shape whole = parts[0].shape;
    for (const Type& part : parts.subspan(1)) whole[axis_] += part.shape[axis_];
    if (t[0].shape != whole) {
      throw usage_error("[concat_part] the parts make shape {}, not {}", to_string(whole),
                        to_string(t[0].shape));
    }
    return {{t[0].dtype, parts[static_cast<std::size_t>(part_)].shape}};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type> outputs,
               const Backend& backend) const override {
    SliceShape shape{t[0].dtype, t[0].shape, {}, extents_of(t[0].shape)};
    const auto a = static_cast<std::size_t>(axis_);
    for (std::size_t k = 0; k < static_cast<std::size_t>(part_); ++k) {
      shape.start[a] += t[k + 1].shape[axis_];
    }
    shape.stop[a] = shape.start[a] + outputs[0].shape[axis_];
    return prepare_from(slice_variants(), shape, shape.dtype, backend);
  }
  void vjp(Vjp& v) const override {
    std::vector<Var> parts;
    for (int k = 1; k < v.operand_count(); ++k) {
      parts.push_back(k == part_ + 1 ? v.cotangent() : zeros_like(v.operand(k)));
    }
    v.give(0, concat(parts, axis_));
  }
  Role role(int operand) const override { return operand == 0 ? Role::signal : Role::shape; }
  bool rows_independent() const override { return axis_ != 0; }

 private:
  int axis_, part_;
};

class Concat final : public LayoutOp {
 public:
  explicit Concat(int axis) : axis_(axis) {}
  std::string_view name() const override { return "concat"; }
  void attributes(AttributeVisitor& v) const override { v.visit("axis", std::int64_t{axis_}); }
  Types infer(std::span<const Type> t) const override {
    check_parts(name(), t, axis_);
    Type whole = t[0];
    for (const Type& part : t.subspan(1)) whole.shape[axis_] += part.shape[axis_];
    return {whole};
  }
  Plan prepare(std::span<const Type> t, std::span<const Type>,
               const Backend& backend) const override {
    const Shape& first = t[0].shape;
    std::vector<std::int64_t> extents;
    for (const Type& part : t) extents.push_back(part.shape[axis_]);
    const ConcatShape shape{t[0].dtype, first.elements(0, axis_),
                            first.elements(axis_ + 1, first.rank()), extents};
    return prepare_from(concat_variants(), shape, shape.dtype, backend);
  }
  void vjp(Vjp& v) const override {
    std::vector<Var> operands{v.cotangent()};
    for (int k = 0; k < v.operand_count(); ++k) operands.push_back(v.operand(k));
    for (int k = 0; k < v.operand_count(); ++k) {
      if (v.wants(k)) {
        v.give(k, record<ConcatPart>(operands, axis_, k));
      }
    }
  }
  Role role(int) const override { return Role::signal; }
  Footprint footprint() const override {
    return axis_ == 3 ? Footprint{} : Footprint{Footprint::Kind::global};
  }
  bool rows_independent() const override { return axis_ != 0; }

 private:
  int axis_;
};

}  // namespace

Var pad(Var x, std::span<const std::int64_t> before, std::span<const std::int64_t> after,
        double value) {
  return record<Pad>({x}, Shape(before), Shape(after), value);
}

Var slice(Var x, int axis, std::int64_t begin, std::int64_t end) {
  return record<Slice>({x}, axis, begin, end);
}

Var concat(std::span<const Var> parts, int axis) {
  // One place is kept for the whole, which the gradient adds to the operands.
  if (parts.empty() || parts.size() + 1 > kMostOperands) {
    throw usage_error("[concat] {} parts; it joins 1 to {}, more in several steps", parts.size(),
                      kMostOperands - 1);
  }
  std::vector<Var> alike(parts.begin(), parts.end());
  for (const Var& part : parts) {
    if (!part || part.dtype() != DType::f32) continue;
    for (Var& other : alike) other = widened(other);
  }
  return record<Concat>(alike, axis);
}

Var packed(std::span<const Var> parts) {
  constexpr std::size_t kMostParts = kMostOperands - 1;
  std::vector<Var> flat;
  for (const Var& part : parts) {
    if (!part) throw usage_error("[packed] operand {} is missing", flat.size());
    flat.push_back(reshape_all(part, {part.shape().elements()}));
  }
  while (flat.size() > 1) {
    std::vector<Var> joined;
    for (std::size_t i = 0; i < flat.size(); i += kMostParts) {
      const std::size_t count = std::min(kMostParts, flat.size() - i);
      joined.push_back(count == 1 ? flat[i] : concat(std::span(flat).subspan(i, count), 0));
    }
    flat = std::move(joined);
  }
  return flat.at(0);
}

Var concat_part(Var whole, std::span<const Var> parts, int axis, int part) {
  std::vector<Var> operands{whole};
  operands.insert(operands.end(), parts.begin(), parts.end());
  return record<ConcatPart>(operands, axis, part);
}

std::vector<Sample> pad_samples() {
  const auto op = [](Shape before, Shape after, double value) {
    return std::make_shared<Pad>(before, after, value);
  };
  return {
      {"border", op({0, 1, 2, 0}, {0, 2, 1, 0}, 0), {normal({3, 4, 5, 2})}},
      {"value", op({0, 0, 3}, {0, 1, 0}, -1.5), {normal({3, 4, 5})}},
      {"nothing", op({0, 0}, {0, 0}, 0), {normal({3, 7})}},
      {"rows", op({2, 0}, {1, 1}, 0), {normal({3, 7})}},
      {"empty batch", op({0, 1}, {0, 1}, 0), {normal({0, 7})}},
  };
}

std::vector<Sample> slice_samples() {
  return {
      {"channels", std::make_shared<Slice>(3, 1, 4), {normal({3, 2, 3, 5})}},
      {"columns", std::make_shared<Slice>(1, 0, 6), {normal({3, 7})}},
      {"all", std::make_shared<Slice>(1, 0, 7), {normal({3, 7})}},
      {"none", std::make_shared<Slice>(1, 3, 3), {normal({3, 7})}},
      {"first row", std::make_shared<Slice>(0, 0, 1), {normal({3, 7})}},
      {"empty batch", std::make_shared<Slice>(1, 1, 3), {normal({0, 7})}},
  };
}

std::vector<Sample> slice_like_samples() {
  const auto op = [](Shape start) { return std::make_shared<SliceLike>(start); };
  return {
      {"middle", op({0, 1, 2}), {normal({3, 5, 6}), normal({3, 2, 3})}},
      {"all", op({0, 0}), {normal({3, 7}), normal({3, 7})}},
      {"empty batch", op({0, 2}), {normal({0, 7}), normal({0, 3})}},
  };
}

std::vector<Sample> pad_like_samples() {
  const auto op = [](Shape start) { return std::make_shared<PadLike>(start); };
  return {
      {"middle", op({0, 1, 2}), {normal({3, 2, 3}), normal({3, 5, 6})}},
      {"all", op({0, 0}), {normal({3, 7}), normal({3, 7})}},
      {"empty batch", op({0, 2}), {normal({0, 3}), normal({0, 7})}},
  };
}

std::vector<Sample> concat_samples() {
  const auto op = [](int axis) { return std::make_shared<Concat>(axis); };
  return {
      {"channels", op(3), {normal({3, 2, 3, 4}), normal({3, 2, 3, 1}), normal({3, 2, 3, 5})}},
      {"columns", op(1), {normal({3, 7}), normal({3, 2})}},
      {"rows", op(0), {normal({3, 7}), normal({3, 7})}},
      {"one part", op(1), {normal({3, 7})}},
      {"empty batch", op(1), {normal({0, 7}), normal({0, 2})}},
  };
}

std::vector<Sample> concat_part_samples() {
  const auto op = [](int axis, int part) { return std::make_shared<ConcatPart>(axis, part); };
  return {
      {"middle", op(1, 1), {normal({3, 9}), normal({3, 2}), normal({3, 4}), normal({3, 3})}},
      {"first", op(2, 0), {normal({3, 2, 7}), normal({3, 2, 3}), normal({3, 2, 4})}},
      {"empty batch", op(1, 0), {normal({0, 5}), normal({0, 2}), normal({0, 3})}},
  };
}

}  // namespace tapescope
