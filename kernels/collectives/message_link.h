// Messages between pairs of ranks: what a transport over a network has to bring.
#pragma once

#include <cstddef>
#include <string>

namespace tapescope {

enum class Heard { yes, nothing, failed };

class MessageLink {
 public:
  virtual ~MessageLink() = default;  // may wait for the others to end
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Sends to one rank and receives from one, at once; either rank may be -1: none. Returns when
  // both are done and `sent` may be written again. `nothing`: after `seconds` one of them was not;
  // `failed`: `why` tells, for instance of a message of another length. The link is of no use after
  // either.
  virtual Heard exchange(int to, const void* sent, std::size_t sent_bytes, int from, void* received,
                         std::size_t received_bytes, double seconds, std::string& why) = 0;
};

}  // namespace tapescope
