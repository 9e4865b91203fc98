#include "kernels/collectives/paired_sum.h"

#include <algorithm>

#include "kernels/collectives/tree.h"

namespace tapescope {
namespace {

// What is exchanged at once, in bytes: each message costs a meeting, which two processes on busy
// processors pay dearly.
constexpr std::int64_t kExchangedAtOnce = 8 << 20;
// From here on halves are sent: twice the messages for fewer bytes.
constexpr std::int64_t kLongSum = 64 << 10;

}  // namespace

void PairedSum::begin(MessageLink& link, int lane, void* data, std::int64_t count, DType dtype) {
  link_ = &link;
  lane_ = lane;
  round_ = 0;
  data_ = static_cast<char*>(data);
  count_ = count;
  done_ = link.size() > 1 ? 0 : count;
  dtype_ = dtype;
  add_pair(data, data, 0, dtype, data);  // refuses what cannot be added
  if (!done()) start_round();
}

Heard PairedSum::advance(std::string& why) {
  while (!done()) {
    const Heard heard = link_->test(lane_, why);
    if (heard != Heard::yes) return heard;
    finish_round();
    if (++round_ == rounds()) {
      done_ += piece();
      round_ = 0;
    }
    if (!done()) start_round();
  }
  return Heard::yes;
}

std::int64_t PairedSum::piece() const {
  return std::min(count_ - done_, kExchangedAtOnce / static_cast<std::int64_t>(size_of(dtype_)));
}
int PairedSum::levels() const {
  int levels = 0;
  while (1 << levels < link_->size()) ++levels;
  return levels;
}
bool PairedSum::halves() const {
  return piece() * static_cast<std::int64_t>(size_of(dtype_)) >= kLongSum;
}

PairedSum::Range PairedSum::range_at(int level) const {
  Range range{0, piece()};
  for (int k = 0; k < level; ++k) {
    const std::int64_t middle = range.begin + (range.end - range.begin) / 2;
    ((link_->rank() >> k & 1) != 0 ? range.begin : range.end) = middle;
  }
  return range;
}
PairedSum::Range PairedSum::other_half(int level) const {
  const Range both = range_at(level), own = range_at(level + 1);
  return own.begin == both.begin ? Range{own.end, both.end} : Range{both.begin, own.begin};
}
char* PairedSum::at(std::int64_t element) const {
  return data_ + (done_ + element) * static_cast<std::int64_t>(size_of(dtype_));
}
std::size_t PairedSum::bytes(Range range) const {
  return static_cast<std::size_t>(range.end - range.begin) * size_of(dtype_);
}

void PairedSum::start_round() {
  const Range both = halves() ? range_at(level()) : Range{0, piece()};
  const Range own = halves() ? range_at(level() + 1) : both,
              other = halves() ? other_half(level()) : both;
  Exchange e{partner(), nullptr, 0, partner(), nullptr, 0};
  if (round_ < levels()) {  // the partner's part of what the partner adds, for ours
    other_.resize(std::max(other_.size(), bytes(own)));
    e.sent = at(other.begin);
    e.sent_bytes = bytes(other);
    e.received = other_.data();
    e.received_bytes = bytes(own);
  } else {
    e.sent = at(own.begin);
    e.sent_bytes = bytes(own);
    e.received = at(other.begin);
    e.received_bytes = bytes(other);
  }
  link_->start(lane_, e);
}

void PairedSum::finish_round() {
  if (round_ >= levels()) return;
  const Range own = halves() ? range_at(level() + 1) : Range{0, piece()};
  char* const to = at(own.begin);
  const bool lower = link_->rank() < partner();
  add_pair(lower ? to : other_.data(), lower ? other_.data() : to, own.end - own.begin, dtype_, to);
}

}  // namespace tapescope
