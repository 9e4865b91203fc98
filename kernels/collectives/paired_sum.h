// A sum over ranks as a row of messages between pairs.
#pragma once

#include <vector>

#include "engine/type.h"
#include "kernels/collectives/message_link.h"
#include "kernels/collectives/paired_rounds.h"

namespace tapescope {

class PairedSum {
 public:
  // Begins; `data` is the sum when it is done. One at a time on a lane.
  void begin(MessageLink& link, int lane, void* data, std::int64_t count, DType dtype);
  bool done() const { return begin_ == count_; }
  // Of one that is not done: who is waited for, and, without waiting, MessageLink::test() of that.
  // After `yes` the next round has begun, or the sum is done.
  int partner() const { return rounds_.round(round_).partner; }
  Heard advance(std::string& why);

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
