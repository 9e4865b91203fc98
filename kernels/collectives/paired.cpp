#include "kernels/collectives/paired.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "engine/remedy.h"
#include "kernels/collectives/stopwatch.h"
#include "kernels/collectives/tree.h"

namespace tapescope {
namespace {

// What is exchanged at once, in bytes: each message costs a meeting, which two processes on busy
// processors pay dearly.
constexpr std::int64_t kPiece = 8 << 20;
constexpr std::size_t kLongest = std::size_t{1} << 30;  // message: MPI counts in int

class PairedCommunicator final : public Communicator {
 public:
  PairedCommunicator(std::string_view transport, std::unique_ptr<MessageLink> link,
                     double rank_timeout)
      : transport_(transport), link_(std::move(link)), rank_timeout_(rank_timeout) {
    expect_rank_count(link_->size());
  }

  std::string_view transport() const override { return transport_; }
  int rank() const override { return link_->rank(); }
  int size() const override { return link_->size(); }
  double seconds() const override { return seconds_; }

  void all_reduce(void* data, std::int64_t count, DType dtype) override {
    const Call call(*this, "all_reduce");
    const auto element = static_cast<std::int64_t>(size_of(dtype));
    const std::int64_t piece = kPiece / element;
    if (count > 0) other_.resize(static_cast<std::size_t>(std::min(count, piece) * element));
    for (std::int64_t done = 0; done < count; done += piece) {
      const std::int64_t n = std::min(count - done, piece);
      char* const own = static_cast<char*>(data) + done * element;
      const auto bytes = static_cast<std::size_t>(n * element);
      for (int distance = 1; distance < size(); distance *= 2) {
        const int partner = rank() ^ distance;
        exchange(partner, own, bytes, partner, other_.data(), bytes);
        const bool lower = rank() < partner;
        add_pair(lower ? own : other_.data(), lower ? other_.data() : own, n, dtype, own);
      }
    }
  }

  void all_gather(const void* own, std::span<const std::size_t> bytes, void* all) override {
    const Call call(*this, "all_gather");
    if (bytes.size() != static_cast<std::size_t>(size())) {
      throw failure("[all_gather] {} lengths for {} ranks; give one of each", bytes.size(), size());
    }
    std::vector<std::size_t> begin = {0};
    for (const std::size_t length : bytes) begin.push_back(begin.back() + length);
    const auto from = [&](int rank) { return begin[static_cast<std::size_t>(rank)]; };
    char* const to = static_cast<char*>(all);
    const std::size_t length = bytes[static_cast<std::size_t>(rank())];
    if (length > 0) std::memcpy(to + from(rank()), own, length);
    // Each round doubles the range of ranks whose bytes are here.
    for (int distance = 1; distance < size(); distance *= 2) {
      const int partner = rank() ^ distance, mine = rank() & ~(distance - 1),
                theirs = partner & ~(distance - 1);
      exchange(partner, to + from(mine), from(mine + distance) - from(mine), partner,
               to + from(theirs), from(theirs + distance) - from(theirs));
    }
  }

  void broadcast(void* data, std::size_t bytes, int root) override {
    const Call call(*this, "broadcast");
    if (root < 0 || root >= size()) {
      throw failure("[broadcast] from rank {} of {}; they are 0 to {}", root, size(), size() - 1);
    }
    const int place = rank() ^ root;  // 0 at the root; those below `distance` have it
    for (int distance = 1; distance < size(); distance *= 2) {
      if (place >= 2 * distance) continue;
      const int partner = rank() ^ distance;
      if (place < distance) exchange(partner, data, bytes, -1, nullptr, 0);
      if (place >= distance) exchange(-1, nullptr, 0, partner, data, bytes);
    }
  }

  void barrier() override {
    const Call call(*this, "barrier");
    for (int distance = 1; distance < size(); distance *= 2) {
      const int partner = rank() ^ distance;
      exchange(partner, nullptr, 0, partner, nullptr, 0);
    }
  }

 private:
  struct Call {
    Call(PairedCommunicator& of, const char* kind) : watch(of.seconds_) {
      of.kind_ = kind;
      ++of.calls_;
    }
    Stopwatch watch;
  };

  void exchange(int to, const void* sent, std::size_t sent_bytes, int from, void* received,
                std::size_t received_bytes) {
    std::size_t done = 0;
    do {
      const std::size_t out = std::min(kLongest, sent_bytes - std::min(done, sent_bytes)),
                        in = std::min(kLongest, received_bytes - std::min(done, received_bytes));
      // All pieces go both ways, the last ones of the shorter side empty.
      exchange_piece(to, static_cast<const char*>(sent) + (out > 0 ? done : 0), out, from,
                     static_cast<char*>(received) + (in > 0 ? done : 0), in);
      done += kLongest;
    } while (done < std::max(sent_bytes, received_bytes));
  }

  void exchange_piece(int to, const void* sent, std::size_t sent_bytes, int from, void* received,
                      std::size_t received_bytes) {
    std::string why;
    const Heard heard =
        link_->exchange(to, sent, sent_bytes, from, received, received_bytes, rank_timeout_, why);
    if (heard == Heard::yes) return;
    const std::string where = fmt::format("rank {} of {} in call {}", rank(), size(), calls_ - 1);
    if (heard == Heard::nothing) {
      throw ErrorWithRemedy(
          Remedy::longer_wait,
          failure(
              "[{}] {} has heard nothing from rank {} for {} s: that one, or one that it waits for "
              "itself, is stopped or has ended; look for it, or give ranks more time",
              kind_, where, from >= 0 ? from : to, rank_timeout_));
    }
    throw failure(
        "[{}] {} cannot speak with rank {}: {}; start all ranks by the same program, options "
        "and data",
        kind_, where, from >= 0 ? from : to, why);
  }

  const std::string_view transport_;
  const std::unique_ptr<MessageLink> link_;
  const double rank_timeout_;
  std::vector<char> other_;  // a partner's piece
  const char* kind_ = "";
  std::uint64_t calls_ = 0;
  double seconds_ = 0;
};

}  // namespace

std::unique_ptr<Communicator> make_paired(std::string_view transport,
                                          std::unique_ptr<MessageLink> link, double rank_timeout) {
  return std::make_unique<PairedCommunicator>(transport, std::move(link), rank_timeout);
}

}  // namespace tapescope
