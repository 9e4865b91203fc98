// What ranks with a GPU each say to each other from its memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/queue.h"

namespace tapescope {

// Work in the order of a queue: the host waits for nothing, so that a step with it can be captured
// as a CUDA graph. All ranks make the same calls in the same order.
class DeviceLink {
 public:
  virtual ~DeviceLink() = default;
  // Whether sums are taken by sum_fast(): the user wants them so.
  virtual bool fast() const = 0;
  // A queue beside `behind`, which goes on when that has come as far as it is now: for what others
  // need later. mark() remembers how far it is, join() lets a queue wait for the oldest mark; no
  // more of them than Communicator::kSumsUnderWay.
  virtual Queue fork(const Queue& behind) = 0;
  virtual void mark() = 0;
  virtual void join(const Queue& queue) = 0;
  // Sends to a partner, who sends too; either may be of 0 bytes.
  virtual void exchange(int partner, const void* sent, std::size_t sent_bytes, void* received,
                        std::size_t received_bytes, const Queue& queue) = 0;
  // out {count} = the sum of all ranks' `in`, in an order that the library chooses; may be `in`.
  virtual void sum_fast(const float* in, float* out, std::int64_t count, const Queue& queue) = 0;
};

}  // namespace tapescope
