// What runs beside the threads of a block on Hopper: copies by tensor map, and the multiplications
// of warpgroups. Both read and write shared memory by a way of their own (PTX: the async proxy), at
// a moment of their own between being asked for and being waited for. The moment is the schedule's:
// the last one in forward orders, the first in reverse ones, a coin's in shuffled ones.
#pragma once

#include <array>

#include "kernels/emulator/block.h"
#include "kernels/emulator/tensor_view.h"

namespace tapescope::emulator {

constexpr unsigned kGroupSize = 128;  // threads of a warpgroup

// A copy from global to shared memory.
struct BulkCopy {
  TensorView view;
  int at[5] = {};                  // where it begins: tiled {x, y, ...}, im2col {c, w, h, n}
  int offset_w = 0, offset_h = 0;  // of im2col
  unsigned char* to = nullptr;
  std::uint64_t* barrier = nullptr;
  unsigned thread = 0;  // who asked for it
};

// d (64 x columns, f32) += a (64 x 16) * b (16 x columns), both bf16 in shared memory, where 64-bit
// descriptors say.
struct Multiply {
  std::uint64_t a, b;
  bool transposed_a, transposed_b;  // M or N are contiguous, not K
  bool accumulate;                  // d is added to, not replaced
  int columns;
  float* d;  // this lane's {columns / 2}
};

class Async {
 public:
  explicit Async(Block& block) : block_(block) {}
  void begin();
  void end();  // throws where something is still under way

  // fence.proxy.async: what threads have written to shared memory is seen by copies and
  // multiplications from now on.
  void publish();
  // What these see there, "of what" for the report where it lies in no shared array.
  const unsigned char* seen(const Thread& self, unsigned address, std::size_t bytes,
                            const char* what);

  // Fills the target with NaN at once, lands later.
  void copy(Thread& self, const BulkCopy& copy);
  // What is under way and whose moment it is; with `stuck`, one thing of all that is waited for.
  bool land(std::uint64_t round, bool stuck);

  // The four instructions of a warpgroup; all 128 threads call each.
  void fence(Thread& self, Site site);
  void multiply(Thread& self, Site site, const Multiply& part);
  void commit(Thread& self, Site site);
  void wait(Thread& self, Site site,
            int pending);  // until all but the last `pending` groups are done

 private:
  // Where 128 threads meet.
  struct Meeting {
    std::mutex mutex;  // where threads are concurrent
    Site site;
    unsigned arrived = 0;
    std::array<void*, kGroupSize> parts = {};
    std::atomic<std::uint64_t> generation{0};
  };
  // Sums that a multiplication works on: the threads' registers hold NaN until they are waited for.
  struct Sums {
    std::array<float*, kGroupSize> lanes;
    int columns;
    std::vector<float> values;  // {64, columns}
  };
  struct Asked {
    Multiply what;
    std::size_t sums;
    int group;
    bool done;
  };
  struct Group {
    Meeting meeting;
    std::vector<Sums> sums;
    std::vector<Asked> asked;
    int committed = 0;             // groups
    int wanted = 0, finished = 0;  // that somebody waits for, and that are done: those before it
    bool fenced = false;
  };
  Group& group_of(const Thread& self);
  // The last to arrive does `work` for all.
  void meet(Thread& self, Site site, void* part, FunctionRef<void(Group&)> work);
  void take_over(const Thread& self, Group& group, const Multiply& part);
  void compute(const Thread& self, Group& group, int limit);
  void finish(Group& group);
  bool early();
  void write(unsigned char* to, const void* from, std::size_t bytes);
  void land(const BulkCopy& copy);
  void land_row(const BulkCopy& copy, unsigned row, const unsigned char* from,
                std::int64_t elements);

  Block& block_;
  std::vector<unsigned char> view_;  // the arrays as this side sees them, by shared address
  std::vector<BulkCopy> copies_;
  std::array<Group, kMaxThreads / kGroupSize> groups_;
  std::uint64_t coins_ = 0;
};

}  // namespace tapescope::emulator
