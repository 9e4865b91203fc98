// Ops of which a Program's neighbouring steps can be one kernel.
#pragma once

#include "autograd/op.h"

namespace tapescope {

class JoinedOp : public Op {
 public:
  // Steps of a Program as one kernel: this op's first, all of one name. The pointers of one lie
  // `pitch` behind those of the one before. An empty plan where the device has no such kernel, or
  // where it cannot take these together.
  struct Joined {
    const Op* op;
    std::vector<Type> operands;
  };
  virtual Plan prepare_joined(std::span<const Joined> steps, std::int64_t pitch,
                              const Backend& backend) const = 0;
  // Operands from this one on are the same for all of them: a learning rate, `halted`.
  virtual int common_operands_from() const = 0;
};

// Its results replace what parameters hold: an optimiser's step, running statistics. Joined only
// where all do so in place.
class UpdateOp : public JoinedOp {
 public:
  // The same op with one operand more, `halted` {} i64, for GPUs: where it is not 0 nothing is
  // written, and what was to be replaced in place stays.
  virtual OpRef that_halts() const = 0;
};

// A variant of a family that only GPUs have; an empty plan where there is none.
template <class Shape>
Plan gpu_plan(std::string_view family, const Shape& shape, DType dtype, const Backend& backend) {
  if (backend.device.kind == DeviceKind::cpu) return {};
  for (const Variant<Shape>& variant : gpu_variants<Shape>(backend.device.kind, family)) {
    if (covers(variant, shape, dtype)) return variant.prepare(shape);
  }
  return {};
}

}  // namespace tapescope
