#include "kernels/collectives/local.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "engine/remedy.h"
#include "engine/thread_pool.h"
#include "kernels/collectives/rank_ended.h"
#include "kernels/collectives/stopwatch.h"
#include "kernels/collectives/tree.h"

namespace tapescope {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::int64_t kSegment = LocalWorld::kSegment;
constexpr const char* kKinds[] = {"barrier", "all_reduce", "all_gather", "broadcast"};
enum Kind : std::uint64_t { kBarrier, kAllReduce, kAllGather, kBroadcast };

void copy(void* to, const void* from, std::int64_t bytes) {
  constexpr std::int64_t kGrain = 128 * 1024;  // that one thread takes
  parallel_ranges(bytes, kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                static_cast<std::size_t>(end - begin));
  });
}

// A call is one or more segments. Of a segment a rank writes its part into one of its two slots,
// arrives, waits until all have arrived, and reads what the others wrote. The next segment goes
// into the other slots; when all have arrived with it, all have read this one, and its slots may be
// written again.
class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<LocalWorld> world, int rank, const LocalOptions& options)
      : world_(std::move(world)), rank_(rank), options_(options) {
    if (rank < 0 || rank >= world_->ranks()) {
      throw usage_error("rank {} of {} ranks; they are 0 to {}", rank, world_->ranks(),
                        world_->ranks() - 1);
    }
    world_->enter(rank);
    barrier();
  }

  std::string_view transport() const override { return "local"; }
  int rank() const override { return rank_; }
  int size() const override { return world_->ranks(); }
  double seconds() const override { return seconds_; }

  void all_reduce(void* data, std::int64_t count, DType dtype) override {
    const auto element = static_cast<std::int64_t>(size_of(dtype));
    const Call call(*this, kAllReduce, static_cast<std::uint64_t>(count * element));
    std::int64_t done = 0;
    do {
      const std::int64_t n = std::min(count - done, kSegment / element);
      reduce_segment(static_cast<char*>(data) + done * element, n, dtype);
      done += n;
    } while (done < count);
  }

  void all_gather(const void* own, std::span<const std::size_t> bytes, void* all) override {
    if (bytes.size() != static_cast<std::size_t>(size())) {
      throw failure("[all_gather] {} lengths for {} ranks; give one of each", bytes.size(), size());
    }
    std::vector<std::int64_t> begins;
    std::int64_t total = 0, longest = 0;
    for (const std::size_t length : bytes) {
      begins.push_back(total);
      total += static_cast<std::int64_t>(length);
      longest = std::max(longest, static_cast<std::int64_t>(length));
    }
    const Call call(*this, kAllGather, static_cast<std::uint64_t>(total));
    std::int64_t done = 0;
    do {
      const auto part = [&](int rank) {
        const auto length = static_cast<std::int64_t>(bytes[static_cast<std::size_t>(rank)]);
        return std::clamp<std::int64_t>(length - done, 0, kSegment);
      };
      begin_segment();
      // Behind its end there is nothing to point to.
      if (part(rank_) > 0) copy(slot(rank_), static_cast<const char*>(own) + done, part(rank_));
      meet();
      for (int rank = 0; rank < size(); ++rank) {
        if (part(rank) == 0) continue;
        copy(static_cast<char*>(all) + begins[static_cast<std::size_t>(rank)] + done, slot(rank),
             part(rank));
      }
      done += kSegment;
    } while (done < longest);
  }

  void broadcast(void* data, std::size_t bytes, int root) override {
    if (root < 0 || root >= size()) {
      throw failure("[broadcast] from rank {} of {}; they are 0 to {}", root, size(), size() - 1);
    }
    const Call call(*this, kBroadcast, bytes);
    const auto count = static_cast<std::int64_t>(bytes);
    std::int64_t done = 0;
    do {
      const std::int64_t n = std::min(count - done, kSegment);
      char* const part = static_cast<char*>(data) + done;
      begin_segment();
      if (rank_ == root) copy(slot(rank_), part, n);
      meet();
      if (rank_ != root) copy(part, slot(root), n);
      done += n;
    } while (done < count);
  }

  void barrier() override {
    const Call call(*this, kBarrier, 0);
    begin_segment();
    meet();
  }

 private:
  struct Call {
    Call(LocalCommunicator& of, Kind kind, std::uint64_t bytes) : watch(of.seconds_) {
      of.call_ = {of.calls_++, kind, bytes};
    }
    Stopwatch watch;
  };

  char* slot(int rank) const { return world_->slot(rank, buffer_); }
  void begin_segment() {
    buffer_ ^= 1;
    world_->note(rank_, buffer_) = call_;
  }

  // Each rank adds a part of the segment over all ranks, from the slots and from its own data,
  // which it does not copy; then each takes the other parts from those who added them.
  void reduce_segment(char* data, std::int64_t count, DType dtype) {
    const auto element = static_cast<std::int64_t>(size_of(dtype));
    // Whole cache lines, so that no two ranks write into one.
    const std::int64_t line = 64 / element, lines = (count + line - 1) / line;
    const auto begin_of = [&](int rank) {
      return std::min(count, (lines * rank / size()) * line) * element;
    };
    const auto bytes_of = [&](int rank) { return begin_of(rank + 1) - begin_of(rank); };
    const std::int64_t own = begin_of(rank_), own_bytes = bytes_of(rank_), behind = own + own_bytes;
    begin_segment();
    copy(slot(rank_), data, own);
    copy(slot(rank_) + behind, data + behind, count * element - behind);
    meet();
    std::vector<const void*> sources;
    for (int rank = 0; rank < size(); ++rank) {
      sources.push_back((rank == rank_ ? data : slot(rank)) + own);
    }
    tree_sum(sources, own_bytes / element, dtype, data + own);
    copy(slot(rank_) + own, data + own, own_bytes);
    meet();
    for (int rank = 0; rank < size(); ++rank) {
      if (rank == rank_) continue;
      copy(data + begin_of(rank), slot(rank) + begin_of(rank), bytes_of(rank));
    }
  }

  // Arrives, and waits until all have.
  void meet() {
    world_->arrive(rank_);
    ++turn_;
    for (int rank = 0; rank < size(); ++rank) {
      if (rank != rank_) wait_for(rank);
    }
    for (int rank = 0; rank < size(); ++rank) {
      const SegmentNote& note = world_->note(rank, buffer_);
      if (note == call_) continue;
      throw failure(
          "[{0}] ranks are at different calls: rank {1} at call {2}, {0} of {3} bytes, rank {4} at "
          "call "
          "{5}, {6} of {7} bytes; start all ranks by the same program, options and data",
          kKinds[call_.kind], rank_, call_.call, call_.bytes, rank, note.call,
          note.kind < std::size(kKinds) ? kKinds[note.kind] : "unknown", note.bytes);
    }
  }

  bool has_arrived(int rank) const {
    return static_cast<std::int32_t>(world_->arrivals(rank) - turn_) >= 0;
  }

  void wait_for(int rank) {
    if (has_arrived(rank)) return;
    if (options_.spin) {
      const auto until = Clock::now() + std::chrono::microseconds(50);
      while (Clock::now() < until) {
        for (int i = 0; i < 16; ++i) {
          if (has_arrived(rank)) return;
#if defined(__x86_64__)
          __builtin_ia32_pause();
#endif
        }
      }
    }
    sleep_for(rank);
  }

  void sleep_for(int rank) {
    // Only slices count, each at most twice its length: time in which this process itself was
    // stopped (Ctrl-Z, a laptop's lid) is nobody's silence.
    constexpr double kSlice = 0.05;
    double waited = 0;
    for (;;) {
      const std::uint32_t seen = world_->arrivals(rank);
      if (static_cast<std::int32_t>(seen - turn_) >= 0) return;
      look_for_lost();
      if (waited > options_.rank_timeout) world_->tell_lost({rank, true});
      if (world_->lost().rank >= 0) throw_lost(world_->lost());
      const auto began = Clock::now();
      world_->sleep_until_more(rank, seen, static_cast<std::int64_t>(kSlice * 1e9));
      const std::chrono::duration<double> slept = Clock::now() - began;
      waited += std::min(slept.count(), 2 * kSlice);
    }
  }

  // One that has ended behind this point has done its part.
  void look_for_lost() {
    for (int rank = 0; rank < size(); ++rank) {
      if (!world_->lives(rank) && !has_arrived(rank)) world_->tell_lost({rank, false});
    }
  }

  [[noreturn]] void throw_lost(LostRank lost) const {
    const int process = world_->process_of(lost.rank);
    const std::string who = process == 0 ? fmt::format("rank {}", lost.rank)
                                         : fmt::format("rank {} (process {})", lost.rank, process);
    const std::string where = fmt::format("rank {} waits in call {}, {} of {} bytes", rank_,
                                          call_.call, kKinds[call_.kind], call_.bytes);
    if (!lost.silent) {
      throw RankEnded(lost.rank,
                      failure("[{}] {} has ended: {}; look at what that rank said, and go on from "
                              "the last checkpoint",
                              kKinds[call_.kind], who, where));
    }
    throw ErrorWithRemedy(
        Remedy::longer_wait,
        failure(
            "[{}] {} has said nothing for {} s: {}; see whether it is stopped or hangs, or give "
            "ranks more time",
            kKinds[call_.kind], who, options_.rank_timeout, where));
  }

  const std::shared_ptr<LocalWorld> world_;
  const int rank_;
  const LocalOptions options_;
  SegmentNote call_;
  std::uint64_t calls_ = 0;
  std::uint32_t turn_ = 0;  // how often this rank has arrived
  unsigned buffer_ = 0;     // which slots the segment is in
  double seconds_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> join_local(std::shared_ptr<LocalWorld> world, int rank,
                                         const LocalOptions& options) {
  return std::make_unique<LocalCommunicator>(std::move(world), rank, options);
}

}  // namespace tapescope
