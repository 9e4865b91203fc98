// Frames in and out through pipes: ffmpeg decodes and encodes, this program sees pictures.
#pragma once

#include <condition_variable>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tools/data/image.h"

namespace tapescope::detection {

// Reads frames of binary PPM (P6, 8 bits) or YUV4MPEG2 (4:2:0, 8 bits), seen from the first bytes.
class FrameReader {
 public:
  // `name` is what errors call it. The file is not closed.
  FrameReader(std::FILE* file, std::string name);
  // Nothing at the end of the stream. Throws a usage error where a frame is cut short, of another
  // size than the first, or of an unknown form; frames before it were good.
  std::optional<Image> next();

 private:
  std::optional<Image> next_ppm();
  std::optional<Image> next_y4m();
  std::string line();
  std::vector<std::uint8_t> exactly(std::size_t bytes);
  std::FILE* file_;
  std::string name_;
  enum class Form { unknown, ppm, y4m } form_ = Form::unknown;
  int height_ = 0, width_ = 0;
  std::int64_t frame_ = 0;
};

void write_ppm(std::FILE* file, const Image& image, const std::string& name);

// A child process with one end of a pipe: `ffmpeg` as decoder or encoder.
class Pipe {
 public:
  enum class Way { read, write };
  // words: the program and its arguments, without a shell. Throws a usage error where it cannot be
  // started.
  Pipe(std::vector<std::string> words, Way way);
  ~Pipe();
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  std::FILE* file() const { return file_; }
  // Closes the pipe and waits; the exit status.
  int finish();

 private:
  std::FILE* file_ = nullptr;
  int pid_ = -1;
};

// Between threads: at most `room` items. push() waits for room or, where the newest item wins,
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
