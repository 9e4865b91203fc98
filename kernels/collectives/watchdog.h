// Looks after calls that may never return.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace tapescope {

// A thread that looks on while another one is in a call: now and then it asks `look` whether that
// has lasted too long, and then calls `end`. Time in which the process was stopped does not count.
class Watchdog {
 public:
  // Given the seconds; what it says is why the call is given up. That is known before `end` is
  // called: the call may return while that one is still at work.
  using Look = std::function<std::string(double seconds)>;
  Watchdog(Look look, std::function<void()> end)
      : look_(std::move(look)), end_(std::move(end)), thread_([this] { run(); }) {}
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // One that is looked after, from here to the end of the scope.
  class Call {
   public:
    explicit Call(Watchdog& by) : by_(by) { ++by_.turn_; }
    ~Call() { ++by_.turn_; }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    Watchdog& by_;
  };
  // Why a call was given up; empty: none was.
  std::string words() const {
    const std::lock_guard lock(mutex_);
    return words_;
  }

 private:
  void run() {
    constexpr std::chrono::milliseconds kSlice(50);
    std::uint64_t seen = 0;
    double waited = 0;
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kSlice, [&] { return ends_; })) {
      const std::uint64_t turn = turn_;
      waited = turn % 2 == 1 && turn == seen ? waited + 1e-3 * kSlice.count() : 0;
      seen = turn;
      if (waited == 0 || !words_.empty()) continue;
      lock.unlock();
      std::string words = look_(waited);
      lock.lock();
      words_ = std::move(words);
      if (words_.empty()) continue;
      lock.unlock();
      end_();
      lock.lock();
    }
  }

  const Look look_;
  const std::function<void()> end_;
  std::atomic<std::uint64_t> turn_ = 0;  // odd: in a call
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false;
  std::string words_;
  std::thread thread_;  // last: it sees the others
};

}  // namespace tapescope
