// Messages between pairs of ranks: what a transport over a network has to bring.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tapescope {

// other_call: the partner's message is of another length, so it is at another call.
enum class Heard : std::uint8_t { yes, nothing, other_call, failed };

// A message to one rank and one from a rank, both under way at once; either rank may be -1: none.
struct Exchange {
  int to = -1;
  const void* sent = nullptr;
  std::size_t sent_bytes = 0;  // at most 1 GiB
  int from = -1;
  void* received = nullptr;
  std::size_t received_bytes = 0;
};

class MessageLink {
 public:
  virtual ~MessageLink() = default;  // may wait for the others to end
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Messages of different lanes know nothing of each other; those of one arrive in order.
  static constexpr int kLanes = 3;
  // Begins, where the lane's last exchange is done.
  virtual void start(int lane, const Exchange& exchange) = 0;
  // Whether the lane's exchange is done; `nothing`: not yet. Else `why` tells, and the link is of
  // no use any more. Does the transport's work and waits for nothing.
  virtual Heard test(int lane, std::string& why) = 0;
};

}  // namespace tapescope
