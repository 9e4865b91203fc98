#include "engine/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "engine/environment.h"
#include "engine/pace.h"
#include "engine/processors.h"
#include "engine/remedy.h"

namespace tapescope {
namespace {

constexpr std::size_t kMostThreads = 1024;

int default_thread_count() {
  const auto wanted = number_from_environment("TAPESCOPE_THREADS", 1, kMostThreads);
  return static_cast<int>(wanted.value_or(std::min(allowed_processors().size(), kMostThreads)));
}

thread_local bool inside_parallel_work = false;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

using Clock = std::chrono::steady_clock;

// Work is published by bumping `generation_`; workers spin for it for about 200 us (what kernels
// that one thread does alone take; to wake a sleeping worker takes 50) and then sleep on it. A
// worker joins a job by raising the count in `door_`, which is possible only while the door is
// open. The caller shuts it when no chunk is left and waits for those inside, so a worker that the
// system has put aside between jobs delays nobody; pace.h says what is done about one within a job.
class Pool {
 public:
  explicit Pool(int threads) {
    const std::vector<int> processors = allowed_processors();
    for (int i = 1; i < threads; ++i) {
      // Pinned only while every thread can have a processor of its own. The caller stays free: it
      // may be anybody's thread, and what it starts would inherit the mask.
      const int cpu = threads <= static_cast<int>(processors.size())
                          ? processors[static_cast<std::size_t>(i)]
                          : -1;
      try {
        workers_.emplace_back([this, cpu] { serve(cpu); });
      } catch (const std::system_error& error) {
        stop();
        throw ErrorWithRemedy(
            Remedy::fewer_threads,
            failure("thread {} of {} cannot be started ({}); raise the limits of processes and "
                    "memory (ulimit -u, ulimit -v), or try fewer threads",
                    i + 1, threads, error.code().message()));
      }
    }
  }
  ~Pool() { stop(); }
  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  void run(std::int64_t chunks, FunctionRef<void(std::int64_t)> body) {
    std::unique_lock<std::mutex> owner(owner_, std::defer_lock);
    // Inside a chunk the caller itself may hold the lock, which must not be tried again.
    if (chunks == 1 || workers_.empty() || inside_parallel_work || !owner.try_lock()) {
      for (std::int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk);
      return;
    }
    body_ = &body;
    chunks_ = chunks;
    error_ = nullptr;
    next_.store(0, std::memory_order_relaxed);
    door_.store(kOpen, std::memory_order_release);
    generation_.fetch_add(1);
    generation_.notify_all();
    work([] { return false; });
    door_.fetch_and(~kOpen, std::memory_order_acq_rel);
    for (int spin = 0; door_.load(std::memory_order_acquire) != 0; ++spin) {
      if (spin < 4000) {
        pause_briefly();
      } else {
        std::this_thread::yield();
      }
    }
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void stop() {
    stop_.store(true);
    generation_.fetch_add(1);
    generation_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }
  // Takes chunks until there are none, or `enough`.
  template <class Enough>
  void work(Enough enough) {
    inside_parallel_work = true;
    while (!enough()) {
      const std::int64_t chunk = next_.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= chunks_) break;
      try {
        (*body_)(chunk);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(error_mutex_);
        if (!error_) error_ = std::current_exception();
      }
    }
    inside_parallel_work = false;
  }

  void serve(int cpu) {
    if (cpu >= 0) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(cpu, &set);
      sched_setaffinity(0, sizeof set, &set);  // best effort: a container may refuse it
    } else {
      restore_processors();
    }
    Pace pace;
    Lookout lookout;
    Clock::time_point woke;
    const auto awake = [&] {
      woke = Clock::now();
      lookout.begin();
    };
    awake();
    std::uint32_t seen = 0;
    bool rested = false;  // then the job that it left may still go on
    for (;;) {
      if (!rested && wait_for_other_than(seen)) awake();
      rested = false;
      seen = generation_.load(std::memory_order_acquire);
      if (stop_.load()) return;
      if (!enter()) continue;
      const Clock::time_point began = Clock::now();
      work([&] { return pace.limited() && pace.over(Clock::now() - woke); });
      door_.fetch_sub(1, std::memory_order_release);
      const Clock::time_point ended = Clock::now();
      const bool put_aside = ended - began > kTimeSlice && lookout.taken() > kTimeSlice;
      const Pace::Duration rest = pace.after(ended - woke, put_aside, ended);
      if (rest > Pace::Duration(0)) {
        std::this_thread::sleep_for(rest);
        awake();
        rested = true;
      }
    }
  }
  // Whether it slept until there was another generation.
  bool wait_for_other_than(std::uint32_t seen) {
    const Clock::time_point asleep_after = Clock::now() + std::chrono::microseconds(200);
    bool slept = false;
    while (generation_.load(std::memory_order_acquire) == seen) {
      for (int spin = 0; spin < 32; ++spin) pause_briefly();
      if (Clock::now() > asleep_after) {
        generation_.wait(seen);
        slept = true;
      }
    }
    return slept;
  }
  // Joins the job, if there is one.
  bool enter() {
    std::uint32_t door = door_.load(std::memory_order_acquire);
    while ((door & kOpen) != 0 &&
           !door_.compare_exchange_weak(door, door + 1, std::memory_order_acq_rel)) {
    }
    return (door & kOpen) != 0;
  }

  // Less is taken by the system itself now and then, and by nobody who wants to compute.
  static constexpr Pace::Duration kTimeSlice = std::chrono::microseconds(800);
  static constexpr std::uint32_t kOpen = 1u << 31;

  std::vector<std::thread> workers_;
  std::mutex owner_;
  const FunctionRef<void(std::int64_t)>* body_ = nullptr;
  std::int64_t chunks_ = 0;
  std::exception_ptr error_;
  std::mutex error_mutex_;
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<std::uint32_t> generation_{0};
  alignas(64) std::atomic<std::int64_t> next_{0};
  alignas(64) std::atomic<std::uint32_t> door_{0};  // kOpen | workers inside
};

std::unique_ptr<Pool>& pool() {
  static std::unique_ptr<Pool> instance = std::make_unique<Pool>(default_thread_count());
  return instance;
}

}  // namespace

void parallel_for(std::int64_t chunks, FunctionRef<void(std::int64_t)> body) {
  if (chunks <= 0) return;
  if (chunks == 1) {
    body(0);
    return;
  }
  pool()->run(chunks, body);
}

void parallel_ranges(std::int64_t count, std::int64_t grain,
                     FunctionRef<void(std::int64_t, std::int64_t)> body) {
  if (count <= 0) return;
  if (count <= grain) {
    body(0, count);
    return;
  }
  parallel_for((count + grain - 1) / grain, [&](std::int64_t chunk) {
    const std::int64_t begin = chunk * grain;
    body(begin, begin + grain < count ? begin + grain : count);
  });
}

int thread_count() { return pool()->threads(); }

void set_thread_count(int count) {
  if (count < 1 || static_cast<std::size_t>(count) > kMostThreads) {
    throw usage_error("the number of threads is {}; it must be 1 to {}", count, kMostThreads);
  }
  if (count != pool()->threads()) pool() = std::make_unique<Pool>(count);
}

}  // namespace tapescope
