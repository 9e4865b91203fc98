// Pictures that are kept once they are made, while there is room.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tools/data/image.h"

namespace tapescope {

// Room for pictures, which several caches share: memory, or a file. All members may be called from
// several threads.
class PictureRoom {
 public:
  // Memory.
  explicit PictureRoom(std::int64_t bytes) : bytes_(bytes), left_(bytes) {}
  // A file in `folder` that has no name and is gone with the process. Throws a usage error where it
  // cannot be made.
  PictureRoom(std::int64_t bytes, const std::filesystem::path& folder);
  ~PictureRoom();
  PictureRoom(const PictureRoom&) = delete;
  PictureRoom& operator=(const PictureRoom&) = delete;

  // Half of what is free: of memory, as the system and the limits of control groups have it, or of
  // the disk that `folder` is on.
  static std::shared_ptr<PictureRoom> of_memory();
  static std::shared_ptr<PictureRoom> of_disk(const std::filesystem::path& folder);

  bool on_disk() const { return file_ >= 0; }
  std::int64_t bytes() const { return bytes_; }
  // Whether there is room for so many bytes, which are then taken, beside `spare` others.
  bool take(std::int64_t bytes, std::int64_t spare = 0);
  void give_back(std::int64_t bytes) { left_.fetch_add(bytes); }
  // To the file, in room that was taken: where they are; -1 where the disk does not take them,
  // which ends all keeping.
  std::int64_t write(const std::vector<std::uint8_t>& pixels);
  bool read(std::int64_t where, std::vector<std::uint8_t>& pixels) const;

 private:
  const std::int64_t bytes_;
  std::atomic<std::int64_t> left_;
  int file_ = -1;
  std::atomic<std::int64_t> end_{0};  // of the file
};

class PictureCache {
 public:
  PictureCache(std::int64_t count, std::shared_ptr<PictureRoom> room);
  ~PictureCache();
  PictureCache(const PictureCache&) = delete;
  PictureCache& operator=(const PictureCache&) = delete;

  // Picture `index`: what is kept, or what `make` gives, which is kept where there is room. The
  // pixels live as long as the view and the cache do. May be called from several threads.
  ImageView at(std::int64_t index, const std::function<Image()>& make) const;

 private:
  struct Kept {
    Image image;              // without pixels where they are in the file
    std::int64_t where = -1;  // in the file
  };
  std::shared_ptr<PictureRoom> room_;
  // Set once, by whichever thread made the picture first.
  mutable std::vector<std::atomic<const Kept*>> kept_;
};

}  // namespace tapescope
