// One block at work: its threads, the points where they meet, and its shared memory.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <source_location>
#include <string>
#include <vector>

#include "kernels/emulator/execution.h"

namespace tapescope::emulator {

// Where in a kernel a thread waits: "__syncthreads at matmul.cu:57".
struct Site {
  const char* what = "";
  const char* file = "";
  unsigned line = 0;
  Site() = default;
  Site(const char* what, const std::source_location& at)
      : what(what), file(at.file_name()), line(at.line()) {}
  friend bool operator==(const Site&, const Site&) = default;
};

class Block;
class Async;

// What a thread waits for that is neither a barrier nor a collective: an mbarrier's phase, the rest
// of its warpgroup.
struct Condition {
  bool (*met)(void* data);
  std::string (*missing)(void* data);  // "2 of 8 arrivals and 4096 bytes are missing"
  void* data;
};

// One CUDA thread.
struct Thread {
  uint3 index;          // threadIdx
  unsigned number = 0;  // in the block, x fastest
  Block* block = nullptr;

  // A copy of 16 bytes that cp_async has asked for and no wait has made yet.
  struct Copy {
    void* to;
    const void* from;
    int group;
  };
  std::vector<Copy> copies;
  int groups = 0;  // closed by cp_async_commit

  // The mbarriers that it has waited for, and which of their phases it has seen end last.
  struct SeenPhase {
    const void* barrier;
    unsigned phase;
  };
  std::vector<SeenPhase> phases;

  // Where it stands.
  enum class State : std::uint8_t {
    ready,
    barrier,
    collective,
    condition,
    done
  } state = State::done;
  Site site;
  unsigned mask = 0;     // of its collective
  void* data = nullptr;  // what it brought there
  Condition condition;   // of State::condition

  unsigned lane() const { return number % kWarpSize; }
};

// The thread that this CPU thread runs as. Schedulers set it at every switch, debuggers print it.
inline thread_local Thread* current = nullptr;

// What the last lane to arrive does for all: lanes[l] is what lane l brought, for each l in `mask`.
using Combine = void (*)(void* const* lanes, unsigned mask);

// Thrown through a kernel's frames when another thread of its block has failed.
struct Abandoned {};

// Schedulers derive from it and say how a thread waits.
class Block {
 public:
  virtual ~Block();

  // __syncthreads: every thread of the block, from one line.
  virtual void barrier(Thread& self, Site site) = 0;
  // A warp collective: every lane named in `mask`, from one line and with one mask.
  virtual void collective(Thread& self, Site site, unsigned mask, void* data, Combine combine) = 0;
  // Until the condition is met.
  virtual void wait(Thread& self, Site site, const Condition& condition) = 0;

  // The array of one declaration, known by `key`: made on first use and filled with 0xFF, which is
  // NaN. Marked bytes behind it are looked at when the block ends.
  void* shared(const void* key, std::size_t bytes, std::size_t alignment, const char* name);
  void* dynamic_shared(std::size_t alignment);

  const Grid& grid() const { return *grid_; }
  uint3 index() const { return index_; }
  // What runs beside the threads: async.h. Made when it is first asked for.
  Async& async();
  // Shared memory's own addresses, of 18 bits, as descriptors hold them. `address` is of this
  // block.
  unsigned shared_address(const void* address) const {
    return static_cast<unsigned>(static_cast<const unsigned char*>(address) - window_);
  }
  // The bytes at such an address; null where they are not all of one shared array.
  unsigned char* shared_bytes(unsigned address, std::size_t bytes);
  const std::vector<Thread>& all_threads() const { return threads_; }
  bool concurrent() const { return concurrent_; }
  std::unique_lock<std::mutex> locked() {
    return concurrent_ ? std::unique_lock<std::mutex>(mutex_) : std::unique_lock<std::mutex>();
  }
  // One after the other: the arrays' bytes.
  template <class F>
  void for_each_array(F&& f) const {
    for (const Array& array : arrays_) f(array.data, array.bytes);
  }
  bool is_shared(const void* address) const {
    return !memory_.empty() && address >= memory_.data() && address < &memory_.back();
  }
  // Throws a failure: "[kernel] block (0, 0, 0) thread (3, 0, 0): text".
  [[noreturn]] void fault(const Thread& thread, const std::string& text) const;

 protected:
  // `concurrent`: threads of the block run at the same time.
  explicit Block(bool concurrent);
  void begin(const Grid& grid, std::int64_t number);  // threads() are ready after it
  void end();  // throws where a thread wrote past a shared array
  void check_mask(const Thread& self, unsigned mask, Site site) const;
  // Combines if every lane of `self`'s mask waits as `self` does. The lanes are then ready.
  bool try_combine(Thread& self, Combine combine);
  // Why nobody can go on: throws in the name of a thread that waits.
  [[noreturn]] void explain_deadlock() const;
  std::vector<Thread>& threads() { return threads_; }
  // Copies that may land now; where nobody can go on one does. Whether there was one.
  bool land_copies(std::uint64_t round, bool stuck);

 private:
  struct Array {
    const void* key;
    unsigned char* data;
    std::size_t bytes;
    const char* name;
  };
  void* take(const void* key, std::size_t bytes, std::size_t alignment, const char* name);
  const Grid* grid_ = nullptr;
  uint3 index_;
  std::vector<Thread> threads_;
  std::vector<Array> arrays_;
  std::vector<unsigned char> memory_;
  unsigned char* window_ = nullptr;  // in it, aligned as the swizzles want it
  std::unique_ptr<Async> async_;
  std::size_t used_ = 0, static_bytes_ = 0;
  bool concurrent_;
  std::mutex mutex_;  // of the arrays, where threads are concurrent
};

// 0 ... count - 1 in the schedule's order; `round` makes each shuffle another one.
void make_order(std::vector<unsigned>& order, std::size_t count, std::uint64_t round);

// The two schedulers.
void run_blocks_with_fibers(const Grid& grid, std::int64_t first, std::int64_t last);
void run_block_with_os_threads(const Grid& grid, std::int64_t number);

// The number of the block that runs as the k-th of the grid.
std::int64_t block_in_turn(const Grid& grid, std::int64_t k);

}  // namespace tapescope::emulator
