// A sum over ranks as a row of messages between pairs.
#pragma once

#include <vector>

#include "engine/type.h"
#include "kernels/collectives/message_link.h"
#include "kernels/collectives/paired_rounds.h"

namespace tapescope {

class PairedSum {
 public:
  // Begins; `data` is the sum when advance() says so. One at a time on a lane.
  void begin(MessageLink& link, int lane, void* data, std::int64_t count, DType dtype);
  // Does what can be done without waiting. `yes`: the sum is there; else as MessageLink::test().
  Heard advance(std::string& why);
  bool done() const { return begin_ == count_; }
  int partner() const { return rounds_.round(round_).partner; }  // who is waited for; of one under way

 private:
  void begin_piece();
  void start_round();
  void finish_round();
  char* at(std::int64_t element) const;
  std::size_t bytes(PairedRounds::Range range) const;

  MessageLink* link_ = nullptr;
  int lane_ = 0;
  char* data_ = nullptr;
  std::int64_t count_ = 0, begin_ = 0;  // elements; where the piece begins
  DType dtype_ = DType::f32;
  std::int64_t piece_ = 0;
  PairedRounds rounds_;
  int round_ = 0;
  std::vector<char> other_;  // what the partner has
};

}  // namespace tapescope
