// Sums over ranks that nobody waits for, in buckets.
//
// Some sums are needed at once: what a row of the batch depends on (the sums of a batch
// normalisation) and the guard. The others are not: gradients of weights, which the optimiser and
// the gradients' norm read, how many rows running statistics are of, terms that are told. These are
// put side by side in memory, in the order in which they become known, and a bucket that is full is
// one sum: a step begins it behind the last part of it, another one ends it before the first step
// that reads a part, and what lies between runs meanwhile. What depends on buckets runs behind all
// the rest. Each element is added as before, so no bit depends on the buckets.
#pragma once

#include "autograd/program/lower.h"

namespace tapescope {

// An op that moves nothing. Its one output holds its operands side by side (`offsets`, in bytes,
// one an operand), or, with one operand, its output is a part of that.
class PlacedOp : public Op {
 public:
  virtual bool gathers() const = 0;
  virtual std::span<const std::size_t> offsets() const = 0;
};

// Puts all_reduce steps of a program into buckets of about `bytes`; 0: none. `split`, by value:
// whether it has the batch's rows.
void sum_in_buckets(LoweredProgram& program, Communicator& ranks, const std::vector<bool>& split,
                    std::size_t bytes, Device device);

}  // namespace tapescope
