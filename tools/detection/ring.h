// Items on their way from one thread to another.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>

namespace tapescope::detection {

// At most `room` items. push() waits for room or, where the newest item wins,
// throws the oldest away.
template <class T>
class Ring {
 public:
  Ring(std::size_t room, bool newest_wins) : room_(room), newest_wins_(newest_wins) {}
  // False after close(): nobody will take it.
  bool push(T item) {
    std::unique_lock lock(mutex_);
    if (newest_wins_ && items_.size() >= room_) {
      items_.pop_front();
      ++dropped_;
    }
    changed_.wait(lock, [&] { return closed_ || items_.size() < room_; });
    if (closed_) return false;
    items_.push_back(std::move(item));
    changed_.notify_all();
    return true;
  }
  // Nothing once it is closed and empty.
  std::optional<T> pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || !items_.empty(); });
    if (items_.empty()) return std::nullopt;
    T item = std::move(items_.front());
    items_.pop_front();
    changed_.notify_all();
    return item;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  std::int64_t dropped() const { return dropped_; }

 private:
  const std::size_t room_;
  const bool newest_wins_;
  std::deque<T> items_;
  bool closed_ = false;
  std::int64_t dropped_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace tapescope::detection
