// Which parts of a vector pairs of ranks exchange, so that all have its sum over ranks.
#pragma once

#include <cstdint>

namespace tapescope {

// The tree of tree.h over N = 2^k ranks, in rounds d = 1, 2, 4 ...: rank r exchanges with r ^ d,
// and lower + higher is what the two have afterwards. Short vectors go as they are (recursive
// doubling): k messages of n bytes. Of long ones a pair halves what it has, each rank adds one half
// and goes on with that; then the sums come back the same way (Rabenseifner 2004): 2 k messages,
// 2 n (1 - 1 / N) bytes, most of them between neighbours, who are on one machine. An element meets
// the same partners in the same order either way.
class PairedRounds {
 public:
  struct Range {
    std::int64_t begin = 0, end = 0;  // elements
    std::int64_t count() const { return end - begin; }
  };
  // What a rank sends to `partner`, and what it receives: `adds`: its own part of `received`, to be
  // added to what is there; else the sum itself.
  struct Round {
    int partner;
    bool adds;
    Range sent, received;
  };

  PairedRounds() = default;
  PairedRounds(int rank, int ranks, std::int64_t count, bool halves)
      : rank_(rank), count_(count), halves_(halves && ranks > 1) {
    while (1 << levels_ < ranks) ++levels_;
  }
  int count() const { return halves_ ? 2 * levels_ : levels_; }
  Round round(int i) const {
    const bool adds = i < levels_;
    const int level = adds ? i : 2 * levels_ - 1 - i;
    const Range both = range_at(level), own = range_at(level + 1);
    const Range other = !halves_                  ? both
                        : own.begin == both.begin ? Range{own.end, both.end}
                                                  : Range{both.begin, own.begin};
    const int partner = rank_ ^ (1 << level);
    return adds ? Round{partner, true, other, own} : Round{partner, false, own, other};
  }
  // Whether this rank's part is the lower one of two.
  bool is_lower(const Round& round) const { return rank_ < round.partner; }

 private:
  // What this rank adds, after so many halvings. They end at whole lines of memory.
  Range range_at(int level) const {
    constexpr std::int64_t kLine = 64;  // elements
    Range range{0, count_};
    for (int k = 0; halves_ && k < level; ++k) {
      const std::int64_t middle = range.begin + (range.count() / 2 + kLine - 1) / kLine * kLine;
      const std::int64_t cut = middle < range.end ? middle : range.end;
      ((rank_ >> k & 1) != 0 ? range.begin : range.end) = cut;
    }
    return range;
  }
  int rank_ = 0, levels_ = 0;
  std::int64_t count_ = 0;
  bool halves_ = false;
};

// From so many bytes on halves are sent: twice the messages for fewer bytes.
constexpr std::int64_t kHalvedFrom = 64 << 10;

}  // namespace tapescope
