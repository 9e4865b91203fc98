// Values of a graph while it is recorded, and where their axes lie in memory.
//
// ONNX's axes are names; memory is another matter. An image {N, C, H, W} of the format lies in
// memory as {N, H, W, C}: its layout is {0, 3, 1, 2}, the memory axis of each of ONNX's. A
// Transpose only changes the layout, and what works on any layout (all that is element-wise) keeps
// it. So elements move where an order is forced, and nowhere else.
//
// Where a graph has a batch axis it is the first one in memory, whatever ONNX's axis it is.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "autograd/ops/ops.h"
#include "tools/onnx/graph.h"

namespace tapescope::onnx {

using Layout = std::vector<int>;

// An extent or a number of shape arithmetic: n * N + c, N being the batch size.
struct Number {
  std::int64_t n = 0, c = 0;
  friend bool operator==(const Number&, const Number&) = default;
};

struct Value {
  Element type = Element::f32;
  KnownRef known;    // its numbers, where they are known before anything runs
  KnownRef given;    // of an input for this run alone: what shapes and the like may be made of
  std::string name;  // of known ones that a file gave: what the parameter is called
  Var var;           // on the tape, where it is one: floating, whole numbers and truth values too
  Layout layout;     // of var
  bool batched = false;  // memory axis 0 is the batch

  int rank() const { return known ? known->shape().rank() : static_cast<int>(layout.size()); }
  // ONNX's axis that is the batch, or -1.
  int batch_axis() const;
};

// Extents in ONNX's order, as they are on this tape.
Shape extents_of(const Value& value);

Layout plain_layout(int rank);
// {N, C, spatial...} with the channels last in memory.
Layout image_layout(int rank);
// ONNX's axes in their order, but for the batch, which is first.
Layout ordered_layout(const Value& value);
// The same with one axis last in memory.
Layout last_layout(const Value& value, int axis);
// `layout` with axes of extent 1 in front, up to `rank`.
Layout widened(const Layout& layout, int rank, bool batched);

// `x` with this shape in memory; of a batched one the first axis stays as it is.
Var shaped(Var x, const Shape& memory, bool batched);
// A value on the tape in another layout: moves elements only where axes longer than 1 change their
// order.
Var arranged(const Value& value, const Layout& layout);
// Known numbers as memory of that layout, axes of extent 1 in front up to its rank, and its shape.
// Shares the memory of the known ones where nothing moves.
Shape arranged_shape(const Known& known, const Layout& layout);
Tensor arranged(const Known& known, const Layout& layout);

// A value on the tape with other extents, as ONNX's Reshape. `batch` is the axis of them that is
// the batch, or -1. Keeps elements where they are as long as axes that become one lie together.
Value reshaped(const Value& value, const Shape& extents, int batch);

// --- numbers that are known
std::shared_ptr<Known> make_known(Element type, Shape shape);
double real_at(const Known& known, std::int64_t i);
Number number_at(const Known& known, std::int64_t i);  // of whole numbers
void put(Known& known, std::int64_t i, double value);  // rounded to its type
void put(Known& known, std::int64_t i, Number value);

}  // namespace tapescope::onnx
