// The sum over all ranks, in place of each rank's own part of it.
#pragma once

#include "engine/device.h"
#include "kernels/collectives/communicator.h"
#include "kernels/common/plan.h"

namespace tapescope {

// in: x {elements}, f32 or f64    out: the sum of all ranks' x; may be x
// On a GPU the values go through the host, or, where the ranks have a DeviceLink and add f32, by it
// and in the queue's order. `ranks` null: one rank.
Plan all_reduce(Communicator* ranks, std::int64_t elements, DType dtype, Device device);

// The same in two steps, between which other work is done, also other sums: the sums that are under
// way end in the order in which they began.
//   begin   in: -                        out: x {elements}, this rank's, and room {room} u8
//   end     in: x {elements}, room       out: the sum; may be x
// x and room belong to them in between.
struct SumInTwoSteps {
  std::size_t room = 0;  // bytes
  Plan begin, end;
};
SumInTwoSteps all_reduce_in_two_steps(Communicator& ranks, std::int64_t elements, DType dtype,
                                      Device device);

}  // namespace tapescope
