#include "kernels/collectives/paired.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "engine/remedy.h"
#include "kernels/collectives/paired_sum.h"
#include "kernels/collectives/patience.h"
#include "kernels/collectives/stopwatch.h"
#include "kernels/collectives/tree.h"

namespace tapescope {
namespace {

constexpr std::size_t kLongest = std::size_t{1} << 30;  // message: MPI counts in int
static_assert(MessageLink::kLanes == Communicator::kSumsUnderWay + 1);

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
    now_.begin(*link_, 0, data, count, dtype);
    wait_for(now_);
  }

  void begin_sum(void* data, std::int64_t count, DType dtype) override {
    expect_room(begun_ - finished_);
    const Call call(*this, "all_reduce");
    const std::size_t place = begun_++ % kSumsUnderWay;
    sums_[place].begin(*link_, static_cast<int>(place) + 1, data, count, dtype);
  }
  void finish_sum() override {
    expect_sum(begun_ - finished_);
    const Stopwatch watch(seconds_);
    wait_for(sums_[finished_++ % kSumsUnderWay]);
  }
  void advance() override {
    if (begun_ == finished_) return;
    const Stopwatch watch(seconds_);
    advance_sums();
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
    link_->start(0, {to, sent, sent_bytes, from, received, received_bytes});
    const int partner = from >= 0 ? from : to;
    wait(partner,
         [&] { return heard(partner, [&](std::string& why) { return link_->test(0, why); }); });
  }

  void wait_for(PairedSum& sum) {
    while (!sum.done()) wait(sum.partner(), [&] { return advance(sum); });
  }
  // Whether its round is over.
  bool advance(PairedSum& sum) {
    return heard(sum.partner(), [&](std::string& why) { return sum.advance(why); });
  }
  void advance_sums() {
    for (std::size_t k = finished_; k < begun_; ++k) {
      PairedSum& sum = sums_[k % kSumsUnderWay];
      while (!sum.done() && advance(sum)) continue;
    }
  }

  // Sums that are under way go on meanwhile.
  template <class Done>
  void wait(int partner, Done done) {
    const auto look = [&] {
      advance_sums();
      return done();
    };
    if (wait_patiently(rank_timeout_, look)) return;
    throw ErrorWithRemedy(
        Remedy::longer_wait,
        failure("[{}] {} has heard nothing from rank {} for {} s: that one, or one that it waits "
                "for itself, is stopped or has ended; look for it, or give ranks more time",
                kind_, where(), partner, rank_timeout_));
  }

  template <class Ask>
  bool heard(int partner, Ask ask) {
    std::string why;
    const Heard heard = ask(why);
    if (heard == Heard::yes || heard == Heard::nothing) return heard == Heard::yes;
    throw failure(
        "[{}] {} cannot speak with rank {}: {}; {}", kind_, where(), partner, why,
        heard == Heard::other_call
            ? "it is at another call: start all ranks by the same program, options and "
              "data"
            : "look at that rank's machine and at the network between, and go on from the "
              "last checkpoint");
  }
  std::string where() const {
    return fmt::format("rank {} of {} in call {}", rank(), size(), calls_ - 1);
  }

  const std::string_view transport_;
  const std::unique_ptr<MessageLink> link_;
  const double rank_timeout_;
  PairedSum now_, sums_[kSumsUnderWay];
  std::size_t begun_ = 0, finished_ = 0;
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
