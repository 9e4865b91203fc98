// The memory that the ranks of one machine share.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace tapescope {

// What a rank says of a segment before it arrives with it: others must be in the same call.
struct SegmentNote {
  std::uint64_t call = 0;   // counted from 0
  std::uint64_t kind = 0;   // of LocalCommunicator
  std::uint64_t bytes = 0;  // of the whole call
  friend bool operator==(const SegmentNote&, const SegmentNote&) = default;
};

// A rank that is gone, or that one waited for in vain.
struct LostRank {
  int rank = -1;  // none
  bool silent = false;
};

// One mapping of a file without a name (memfd), which processes inherit. It holds for each rank a
// counter of its arrivals, on which others wait, and two slots of kSegment bytes to be read by all.
// Nothing in it is a lock: a rank that is killed at any moment leaves nothing behind that stops
// another one.
class LocalWorld {
 public:
  static constexpr std::size_t kSegment = std::size_t{1} << 20;

  // A new one, closed when another program is executed. Throws a usage error where `ranks` is no
  // power of two, a failure where memory is short.
  static int create(int ranks);
  // Maps it; the descriptor may be closed then. Throws a usage error where it is not one of
  // `ranks`.
  LocalWorld(int descriptor, int ranks);
  ~LocalWorld();
  LocalWorld(const LocalWorld&) = delete;
  LocalWorld& operator=(const LocalWorld&) = delete;

  int ranks() const { return ranks_; }
  // The process that started the ranks and watches them; 0: none.
  void set_launcher(int process);
  int launcher() const;

  // This process is rank `rank` from now on. Throws a failure where another one is.
  void enter(int rank);
  int process_of(int rank) const;  // 0 before it enters
  // False where the process has entered and ended, a zombie included.
  bool lives(int rank) const;

  // How often `rank` has arrived, modulo 2^32. What it wrote before is seen by who reads this.
  std::uint32_t arrivals(int rank) const;
  void arrive(int rank);
  // Sleeps while arrivals(rank) == seen, for a while at most; may return early.
  void sleep_until_more(int rank, std::uint32_t seen, std::int64_t nanoseconds);

  // The first to be told lost stays: all ranks name the same one.
  void tell_lost(LostRank lost);
  LostRank lost() const;

  char* slot(int rank, unsigned buffer) const;
  SegmentNote& note(int rank, unsigned buffer) const;

 private:
  struct Header;
  struct Line;
  static std::size_t slots_begin(int ranks);
  static std::size_t bytes_of(int ranks);
  Line& line(int rank) const;

  Header* header_ = nullptr;
  int ranks_;
};

}  // namespace tapescope
