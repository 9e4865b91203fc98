// A sum over ranks as a row of exchanges between pairs.
#pragma once

#include <vector>

#include "engine/type.h"
#include "kernels/collectives/message_link.h"

namespace tapescope {

// The tree of tree.h over N = 2^k ranks, in rounds d = 1, 2, 4 ...: rank r exchanges with r ^ d,
// and lower + higher is what the two have afterwards. Short vectors go as they are (recursive
// doubling): k messages of n bytes. Of long ones a pair halves what it has, each rank adds one half
// and goes on with that; then the sums come back the same way (Rabenseifner 2004): 2 k messages,
// 2 n (1 - 1 / N) bytes. An element meets the same partners in the same order either way.
class PairedSum {
 public:
  // Begins; `data` is the sum when advance() says so. One at a time on a lane.
  void begin(MessageLink& link, int lane, void* data, std::int64_t count, DType dtype);
  // Does what can be done without waiting. `yes`: the sum is there; else as MessageLink::test().
  Heard advance(std::string& why);
  bool done() const { return done_ == count_; }
  int partner() const { return link_->rank() ^ distance(); }  // who is waited for

 private:
  struct Range {
    std::int64_t begin, end;  // elements of the piece
  };
  bool halves() const;
  int levels() const;
  int rounds() const { return halves() ? 2 * levels() : levels(); }
  int level() const { return round_ < levels() ? round_ : 2 * levels() - 1 - round_; }
  int distance() const { return 1 << level(); }
  Range range_at(int level) const;  // what this rank adds of the piece, after so many halvings
  Range other_half(int level) const;
  char* at(std::int64_t element) const;
  std::size_t bytes(Range range) const;
  std::int64_t piece() const;  // elements
  void start_round();
  void finish_round();

  MessageLink* link_ = nullptr;
  int lane_ = 0, round_ = 0;
  char* data_ = nullptr;
  std::int64_t count_ = 0, done_ = 0;  // elements; of the pieces before
  DType dtype_ = DType::f32;
  std::vector<char> other_;  // what the partner has
};

}  // namespace tapescope
