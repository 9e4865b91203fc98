// Every CUDA thread of a block as a thread of the operating system, so that ThreadSanitizer sees
// two of them touch one address without a barrier between. One block at a time.
//
// What orders two threads for the sanitizer is what orders them in CUDA: a barrier for all, and a
// collective for the lanes of one warp (which in CUDA orders memory only for __syncwarp; here every
// collective does, so a missing __syncwarp after a shuffle is not seen). Warps share no lock.
#include <time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/error.h"
#include "kernels/emulator/block.h"

namespace tapescope::emulator {
namespace {

// Then those who wait are taken to wait for ever. Counted in what a thread asked to sleep, not by a
// clock, which goes on where the whole process stands still.
constexpr std::chrono::seconds kPatience(30);

template <class Done>
bool wait_patiently(std::condition_variable& signal, std::unique_lock<std::mutex>& lock,
                    const Done& done) {
  constexpr std::chrono::seconds kSlice(1);
  for (std::chrono::seconds waited(0); waited < kPatience; waited += kSlice) {
    if (signal.wait_for(lock, kSlice, done)) return true;
  }
  return false;
}

// Not std::this_thread::sleep_for: at each of its calls ThreadSanitizer notes how far every thread
// has come, of which there are a thousand; most of all time went into that.
void sleep_unwatched(std::chrono::microseconds time) {
  const timespec length{0, std::chrono::nanoseconds(time).count()};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &length, nullptr);
}

class ThreadBlock final : public Block {
 public:
  ThreadBlock() : Block(true) {}
  ~ThreadBlock() override {
    {
      const std::lock_guard<std::mutex> lock(start_mutex_);
      stopping_ = true;
    }
    start_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void run(const Grid& grid, std::int64_t number) {
    begin(grid, number);
    error_ = nullptr;
    abandoning_ = false;
    arrived_ = 0;
    const std::size_t count = threads().size();
    {
      const std::lock_guard<std::mutex> lock(start_mutex_);
      running_ = static_cast<int>(count);
      participants_ = count;
      begun_ = 0;
      ++generation_;
    }
    while (workers_.size() < count) {
      const std::size_t i = workers_.size();
      workers_.emplace_back([this, i] { work(i); });
    }
    start_.notify_all();
    std::unique_lock<std::mutex> lock(start_mutex_);
    finished_.wait(lock, [&] { return running_ == 0; });
    if (error_) std::rethrow_exception(error_);
    lock.unlock();
    end();
  }

  void barrier(Thread& self, Site site) override {
    std::unique_lock<std::mutex> lock(barrier_mutex_);
    self.state = Thread::State::barrier;
    self.site = site;
    const std::uint64_t generation = barrier_generation_;
    if (++arrived_ == threads().size()) {
      for (Thread& thread : threads()) {
        if (thread.site != site) explain_deadlock();
        thread.state = Thread::State::ready;
      }
      arrived_ = 0;
      ++barrier_generation_;
      barrier_reached_.notify_all();
      return;
    }
    const bool released = wait_patiently(
        barrier_reached_, lock, [&] { return barrier_generation_ != generation || abandoning_; });
    if (abandoning_) throw Abandoned();
    if (!released) explain_deadlock();
  }

  void collective(Thread& self, Site site, unsigned mask, void* data, Combine combine) override {
    check_mask(self, mask, site);
    Warp& warp = warps_[self.number / kWarpSize];
    std::unique_lock<std::mutex> lock(warp.mutex);
    self.state = Thread::State::collective;
    self.site = site;
    self.mask = mask;
    self.data = data;
    if (try_combine(self, combine)) {
      warp.combined.notify_all();
      return;
    }
    const bool released = wait_patiently(
        warp.combined, lock, [&] { return self.state == Thread::State::ready || abandoning_; });
    if (abandoning_) throw Abandoned();
    if (!released) explain_deadlock();
  }

  // No lock and no signal: they would order threads that the condition itself does not.
  void wait(Thread& self, Site site, const Condition& condition) override {
    std::chrono::microseconds waited(0), pause(20);
    while (!condition.met(condition.data)) {
      if (abandoning_) throw Abandoned();
      if (waited > kPatience) {
        self.site = site;
        fault(self, std::string("waits in ") + site.what +
                        " for ever: " + condition.missing(condition.data));
      }
      sleep_unwatched(pause);
      waited += pause;
      pause = std::min(pause * 2, std::chrono::microseconds(4000));
    }
  }

 private:
  struct Warp {
    std::mutex mutex;
    std::condition_variable combined;
  };

  void work(std::size_t i) {
    std::uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(start_mutex_);
        start_.wait(lock, [&] { return stopping_ || (generation_ != seen && i < participants_); });
        if (stopping_) return;
        seen = generation_;
      }
      // All begin together, by a mutex that none takes afterwards: what one does must not look as
      // if it came before what another, who took long to wake, does after it. On a loaded machine
      // threads run one after the other, and a lock that the first releases at its end and the
      // second takes at its beginning would order them.
      {
        std::unique_lock<std::mutex> lock(begun_mutex_);
        if (++begun_ == participants_) {
          all_begun_.notify_all();
        } else {
          all_begun_.wait(lock, [&] { return begun_ == participants_; });
        }
      }
      Thread& self = threads()[i];
      current = &self;
      try {
        grid().body();
        self.state = Thread::State::done;
      } catch (const Abandoned&) {
      } catch (...) {
        fail(std::current_exception());
      }
      const std::lock_guard<std::mutex> lock(start_mutex_);
      if (--running_ == 0) finished_.notify_all();
    }
  }

  void fail(std::exception_ptr error) {
    {
      const std::lock_guard<std::mutex> lock(start_mutex_);
      if (!error_) error_ = std::move(error);
    }
    abandoning_ = true;
    {
      const std::lock_guard<std::mutex> lock(barrier_mutex_);
      barrier_reached_.notify_all();
    }
    for (Warp& warp : warps_) {
      const std::lock_guard<std::mutex> lock(warp.mutex);
      warp.combined.notify_all();
    }
  }

  std::vector<std::thread> workers_;
  std::mutex start_mutex_, begun_mutex_;
  std::condition_variable start_, all_begun_, finished_;
  bool stopping_ = false;
  std::uint64_t generation_ = 0;
  std::size_t participants_ = 0, begun_ = 0;
  int running_ = 0;
  std::exception_ptr error_;
  std::atomic<bool> abandoning_{false};

  std::mutex barrier_mutex_;
  std::condition_variable barrier_reached_;
  std::size_t arrived_ = 0;
  std::uint64_t barrier_generation_ = 0;
  std::array<Warp, kMaxThreads / kWarpSize> warps_;
};

}  // namespace

void run_block_with_os_threads(const Grid& grid, std::int64_t number) {
  static std::mutex one_at_a_time;
  static auto* block = new ThreadBlock;  // its threads wait in it until the process ends
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  block->run(grid, number);
}

}  // namespace tapescope::emulator
