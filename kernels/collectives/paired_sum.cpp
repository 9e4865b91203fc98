#include "kernels/collectives/paired_sum.h"

#include <algorithm>

#include "kernels/collectives/tree.h"

namespace tapescope {
namespace {

// In bytes: each message costs a meeting, which two processes on busy processors pay dearly.
constexpr std::int64_t kExchangedAtOnce = 8 << 20;

}  // namespace

void PairedSum::begin(MessageLink& link, int lane, void* data, std::int64_t count, DType dtype) {
  link_ = &link;
  lane_ = lane;
  data_ = static_cast<char*>(data);
  count_ = count;
  dtype_ = dtype;
  begin_ = link.size() > 1 ? 0 : count;
  add_pair(data, data, 0, dtype, data);  // refuses what cannot be added
  if (!done()) begin_piece();
}

Heard PairedSum::advance(std::string& why) {
  const Heard heard = link_->test(lane_, why);
  if (heard != Heard::yes) return heard;
  finish_round();
  if (++round_ < rounds_.count()) {
    start_round();
  } else {
    begin_ += piece_;
    if (!done()) begin_piece();
  }
  return Heard::yes;
}

void PairedSum::begin_piece() {
  const auto element = static_cast<std::int64_t>(size_of(dtype_));
  piece_ = std::min(count_ - begin_, kExchangedAtOnce / element);
  rounds_ = {link_->rank(), link_->size(), piece_, piece_ * element >= kHalvedFrom};
  round_ = 0;
  start_round();
}

void PairedSum::start_round() {
  const PairedRounds::Round round = rounds_.round(round_);
  const std::size_t received = bytes(round.received);
  if (round.adds) other_.resize(std::max(other_.size(), received));
  link_->start(lane_, {round.partner, at(round.sent.begin), bytes(round.sent), round.partner,
                       round.adds ? other_.data() : at(round.received.begin), received});
}

void PairedSum::finish_round() {
  const PairedRounds::Round round = rounds_.round(round_);
  if (!round.adds) return;
  char* const own = at(round.received.begin);
  const bool lower = rounds_.is_lower(round);
  add_pair(lower ? own : other_.data(), lower ? other_.data() : own, round.received.count(), dtype_,
           own);
}

char* PairedSum::at(std::int64_t element) const {
  return data_ + (begin_ + element) * static_cast<std::int64_t>(size_of(dtype_));
}
std::size_t PairedSum::bytes(PairedRounds::Range range) const {
  return static_cast<std::size_t>(range.count()) * size_of(dtype_);
}

}  // namespace tapescope
