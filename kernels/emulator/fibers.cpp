// Every CUDA thread of a block as a fiber of one CPU thread (Boost.Context: 12 ns a switch).
#include <sys/mman.h>
#include <unistd.h>

#include <boost/context/detail/fcontext.hpp>
#include <exception>
#include <memory>

#include "engine/error.h"
#include "kernels/emulator/block.h"
#include "kernels/emulator/counters.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace tapescope::emulator {
namespace {

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStack = 256 << 10;  // red zones make frames large
#else
constexpr std::size_t kStack = 64 << 10;
#endif

// Tells AddressSanitizer which stack is in use; costs nothing without it.
struct StackSwitch {
  void* fake = nullptr;
  void leave([[maybe_unused]] const void* bottom, [[maybe_unused]] std::size_t size) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake, bottom, size);
#endif
  }
  void arrive([[maybe_unused]] const void** from = nullptr,
              [[maybe_unused]] std::size_t* size = nullptr) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, from, size);
#endif
  }
};

// A stack with a page below it that may not be touched.
class Stack {
 public:
  Stack() {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    size_ = kStack + page;
    void* memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw failure("out of memory for the stacks of emulated threads");
    memory_ = static_cast<unsigned char*>(memory);
    mprotect(memory_, page, PROT_NONE);
  }
  ~Stack() { munmap(memory_, size_); }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  unsigned char* top() const { return memory_ + size_; }
  unsigned char* bottom() const { return top() - kStack; }

 private:
  unsigned char* memory_ = nullptr;
  std::size_t size_ = 0;
};

class FiberBlock final : public Block {
 public:
  FiberBlock() : Block(false) {}
  void run(const Grid& grid, std::int64_t number);
  void barrier(Thread& self, Site site) override;
  void collective(Thread& self, Site site, unsigned mask, void* data, Combine combine) override;
  void wait(Thread& self, Site site, const Condition& condition) override;

 private:
  struct Fiber {
    Stack stack;
    fcontext_t context = nullptr;
    StackSwitch switches;
    FiberBlock* block = nullptr;
  };
  static void enter(transfer_t from);
  void resume(Thread& thread);
  void suspend(Thread& self);
  void abandon();

  std::vector<std::unique_ptr<Fiber>> fibers_;  // by thread number; used again for every block
  std::vector<unsigned> order_;
  std::uint64_t round_ = 0;
  fcontext_t scheduler_ = nullptr;
  StackSwitch scheduler_switches_;
  const void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_size_ = 0;
  bool abandoning_ = false;
  std::exception_ptr error_;
};

// What a fiber does all its life: one thread of a block after another.
void FiberBlock::enter(transfer_t from) {
  Fiber& fiber = *static_cast<Fiber*>(from.data);
  FiberBlock& block = *fiber.block;
  block.scheduler_ = from.fctx;
  fiber.switches.arrive(&block.scheduler_stack_, &block.scheduler_stack_size_);
  for (;;) {
    Thread& self = *current;
    try {
      block.grid().body();
    } catch (const Abandoned&) {
    } catch (...) {
      if (!block.error_) block.error_ = std::current_exception();
    }
    self.state = Thread::State::done;
    block.suspend(self);
  }
}

void FiberBlock::resume(Thread& thread) {
  Fiber& fiber = *fibers_[thread.number];
  current = &thread;
  scheduler_switches_.leave(fiber.stack.bottom(), kStack);
  fiber.context = jump_fcontext(fiber.context, &fiber).fctx;
  scheduler_switches_.arrive();
}

void FiberBlock::suspend(Thread& self) {
  Fiber& fiber = *fibers_[self.number];
  fiber.switches.leave(scheduler_stack_, scheduler_stack_size_);
  scheduler_ = jump_fcontext(scheduler_, nullptr).fctx;
  fiber.switches.arrive(&scheduler_stack_, &scheduler_stack_size_);
}

void FiberBlock::barrier(Thread& self, Site site) {
  self.state = Thread::State::barrier;
  self.site = site;
  suspend(self);
  if (abandoning_) throw Abandoned();
}

void FiberBlock::collective(Thread& self, Site site, unsigned mask, void* data, Combine combine) {
  check_mask(self, mask, site);
  self.state = Thread::State::collective;
  self.site = site;
  self.mask = mask;
  self.data = data;
  if (try_combine(self, combine)) return;
  suspend(self);
  if (abandoning_) throw Abandoned();
}

void FiberBlock::wait(Thread& self, Site site, const Condition& condition) {
  if (condition.met(condition.data)) return;
  self.state = Thread::State::condition;
  self.site = site;
  self.condition = condition;
  suspend(self);
  if (abandoning_) throw Abandoned();
}

// Unwinds every thread that still waits.
void FiberBlock::abandon() {
  abandoning_ = true;
  for (Thread& thread : threads()) {
    while (thread.state != Thread::State::done) resume(thread);
  }
  abandoning_ = false;
}

void FiberBlock::run(const Grid& grid, std::int64_t number) {
  begin(grid, number);
  const std::size_t count = threads().size();
  while (fibers_.size() < count) {
    auto fiber = std::make_unique<Fiber>();
    fiber->block = this;
    fiber->context = make_fcontext(fiber->stack.top(), kStack, enter);
    fibers_.push_back(std::move(fiber));
  }
  round_ = static_cast<std::uint64_t>(number) << 20;
  error_ = nullptr;
  for (std::size_t alive = count; alive > 0;) {
    make_order(order_, count, round_++);
    bool progress = false;
    alive = 0;
    std::size_t at_barrier = 0;
    for (unsigned i : order_) {
      Thread& thread = threads()[i];
      if (thread.state == Thread::State::condition && thread.condition.met(thread.condition.data)) {
        thread.state = Thread::State::ready;
      }
      if (thread.state == Thread::State::ready) {
        progress = true;
        resume(thread);
        if (error_) break;
      }
    }
    for (const Thread& thread : threads()) {
      alive += thread.state != Thread::State::done;
      at_barrier += thread.state == Thread::State::barrier;
    }
    try {
      if (!error_ && alive > 0) progress |= land_copies(round_, !progress);
    } catch (...) {
      error_ = std::current_exception();
    }
    if (!error_ && alive > 0) {
      // Every thread has come: go on.
      bool together = at_barrier == count;
      for (const Thread& thread : threads())
        together = together && thread.site == threads()[0].site;
      if (together) {
        if (counting) count_barrier();
        for (Thread& thread : threads()) thread.state = Thread::State::ready;
      } else if (!progress) {
        try {
          explain_deadlock();
        } catch (...) {
          error_ = std::current_exception();
        }
      }
    }
    if (error_) {
      abandon();
      std::rethrow_exception(error_);
    }
  }
  end();
}

}  // namespace

void run_blocks_with_fibers(const Grid& grid, std::int64_t first, std::int64_t last) {
  // One a CPU thread. A launch inside a kernel's body does not exist, so it is never in use here.
  thread_local FiberBlock block;
  Thread* const outer = current;
  for (std::int64_t k = first; k < last; ++k) {
    block.run(grid, block_in_turn(grid, k));
  }
  current = outer;
}

}  // namespace tapescope::emulator
