// Ops that bound their operand element by element.
#pragma once

#include <limits>
#include <optional>

#include "autograd/op.h"

namespace tapescope {

struct Bounds {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool operator==(const Bounds&) const = default;
};

// Of relu and clamp, and those that inside asks for.
std::optional<Bounds> bounds_of(const Op& op);

}  // namespace tapescope
