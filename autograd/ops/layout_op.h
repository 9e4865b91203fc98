// What ops that move elements have in common.
#pragma once

#include <algorithm>

#include "autograd/ops/ops.h"
#include "autograd/ops/samples.h"
#include "kernels/layout/layout.h"

namespace tapescope {

class LayoutOp : public Op {
 public:
  RelevanceClass relevance_class(unsigned) const override { return RelevanceClass::moves; }
  // What is read is what is written: an element that is not moved is not touched.
  Cost cost(std::span<const Type>, std::span<const Type> outputs) const override {
    return memory_cost(outputs, outputs, 0);
  }
  Footprint footprint() const override { return {Footprint::Kind::global}; }
  bool keeps_signs() const override { return true; }
};

inline Extents extents_of(const Shape& shape) {
  Extents extents{};
  std::copy(shape.begin(), shape.end(), extents.begin());
  return extents;
}

}  // namespace tapescope
