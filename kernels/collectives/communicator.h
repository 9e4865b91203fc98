// The ranks of one training, each a process, and what they say to each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string_view>

#include "engine/queue.h"
#include "engine/type.h"
#include "kernels/collectives/rank_ended.h"

namespace tapescope {

class DeviceLink;

// One process's end. All ranks make the same calls in the same order; a call returns when the
// process's own data may be read and written again. A rank that died (RankEnded, where the
// transport can tell), or says nothing for longer than the time-out, is a failure on every other
// rank that names it.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual std::string_view transport() const = 0;  // "local", "mpi", "nccl"
  virtual int rank() const = 0;
  virtual int size() const = 0;  // a power of two

  // data {count}, f32 or f64, in host memory, becomes the sum over all ranks, added as a balanced
  // tree of neighbours, ((0 + 1) + (2 + 3)): the same bits on every rank, whatever the transport,
  // and those that one process gets that adds the same values so.
  virtual void all_reduce(void* data, std::int64_t count, DType dtype) = 0;
  // The same as a sum that is under way while other calls are made. `data` belongs to it from
  // begin_sum() to the finish_sum() that ends it, the oldest first; at most kSumsUnderWay at once.
  // A transport that cannot do two things at once adds when a sum is finished.
  static constexpr int kSumsUnderWay = 2;
  virtual void begin_sum(void* data, std::int64_t count, DType dtype) {
    expect_room(under_way_.size());
    under_way_.push_back({data, count, dtype});
  }
  virtual void finish_sum() {
    expect_sum(under_way_.size());
    const Sum sum = under_way_.front();
    under_way_.pop_front();
    all_reduce(sum.data, sum.count, sum.dtype);
  }
  // Lets sums that are under way go on, and waits for nothing: called now and then.
  virtual void advance() {}

  // Waits for a queue of the device, before the host reads what that made: another rank may keep it
  // waiting, which the host finds out here where no other call does.
  virtual void await(const Queue& queue) { (void)queue; }

  // What each rank has, in the order of ranks; bytes[r] is the length of rank r's.
  virtual void all_gather(const void* own, std::span<const std::size_t> bytes, void* all) = 0;
  virtual void broadcast(void* data, std::size_t bytes, int root) = 0;
  virtual void barrier() = 0;

  // What carries values from GPU to GPU; null: they go through the host, by the calls above.
  virtual DeviceLink* device_link() { return nullptr; }

  // Spent in the calls above, waiting included.
  virtual double seconds() const = 0;

 protected:
  static void expect_room(std::size_t sums) {
    if (sums < kSumsUnderWay) return;
    throw failure("[begin_sum] {} sums are under way; finish one before another begins", sums);
  }
  static void expect_sum(std::size_t sums) {
    if (sums == 0) throw failure("[finish_sum] no sum is under way; begin one first");
  }

 private:
  struct Sum {
    void* data;
    std::int64_t count;
    DType dtype;
  };
  std::deque<Sum> under_way_;
};

// Whether any rank says so; `ranks` null: the one there is.
inline bool any_of_ranks(Communicator* ranks, bool own) {
  if (ranks == nullptr) return own;
  double count = own ? 1 : 0;
  ranks->all_reduce(&count, 1, DType::f64);
  return count > 0;
}

}  // namespace tapescope
