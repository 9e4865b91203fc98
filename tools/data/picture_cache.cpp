#include "tools/data/picture_cache.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "engine/error.h"

namespace tapescope {
namespace {

// A number in a file of the system, after `word` where that is not empty; `otherwise` where there
// is none.
std::int64_t number_in(const char* path, const std::string& word, std::int64_t otherwise) {
  std::ifstream file(path);
  for (std::string found; !word.empty() && found != word;) {
    if (!(file >> found)) return otherwise;
  }
  std::int64_t number = 0;
  return file >> number ? number : otherwise;  // "max" is no number
}

std::int64_t free_memory() {
  std::int64_t free = number_in("/proc/meminfo", "MemAvailable:", 0) * 1024;
  const auto limited = [&](const char* most, const char* used) {
    const std::int64_t limit = number_in(most, "", -1);
    if (limit >= 0)
      free = std::min(free, std::max<std::int64_t>(limit - number_in(used, "", 0), 0));
  };
  limited("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");
  limited("/sys/fs/cgroup/memory/memory.limit_in_bytes",
          "/sys/fs/cgroup/memory/memory.usage_in_bytes");
  return free;
}

ImageView view_owning(Image image) {
  const auto owner = std::make_shared<const Image>(std::move(image));
  ImageView view = view_of(*owner);
  view.owner = owner;
  return view;
}

}  // namespace

PictureRoom::PictureRoom(std::int64_t bytes, const std::filesystem::path& folder)
    : bytes_(bytes), left_(bytes) {
  std::string name = (folder / ".pictures.XXXXXX").string();
  file_ = ::mkstemp(name.data());
  if (file_ < 0) {
    throw usage_error("a file for --cache cannot be made in '{}' ({}); take --cache memory",
                      folder.string(), std::strerror(errno));
  }
  ::unlink(name.c_str());
}

PictureRoom::~PictureRoom() {
  if (file_ >= 0) ::close(file_);
}

std::shared_ptr<PictureRoom> PictureRoom::of_memory() {
  return std::make_shared<PictureRoom>(free_memory() / 2);
}

std::shared_ptr<PictureRoom> PictureRoom::of_disk(const std::filesystem::path& folder) {
  struct statvfs disk {};
  const bool known = ::statvfs(folder.c_str(), &disk) == 0;
  const std::uint64_t free = known ? disk.f_bavail * disk.f_frsize : 0;
  return std::make_shared<PictureRoom>(static_cast<std::int64_t>(free / 2), folder);
}

bool PictureRoom::take(std::int64_t bytes, std::int64_t spare) {
  if (left_.fetch_sub(bytes) >= bytes + spare) return true;
  left_.fetch_add(bytes);
  return false;
}

std::int64_t PictureRoom::write(const std::vector<std::uint8_t>& pixels) {
  const std::int64_t where = end_.fetch_add(static_cast<std::int64_t>(pixels.size()));
  for (std::size_t done = 0; done < pixels.size();) {
    const ssize_t n = ::pwrite(file_, pixels.data() + done, pixels.size() - done,
                               where + static_cast<std::int64_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      left_.store(0);
      return -1;
    }
    done += static_cast<std::size_t>(n);
  }
  return where;
}

bool PictureRoom::read(std::int64_t where, std::vector<std::uint8_t>& pixels) const {
  for (std::size_t done = 0; done < pixels.size();) {
    const ssize_t n = ::pread(file_, pixels.data() + done, pixels.size() - done,
                              where + static_cast<std::int64_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

PictureCache::PictureCache(std::int64_t count, std::shared_ptr<PictureRoom> room)
    : room_(std::move(room)), kept_(static_cast<std::size_t>(count)) {}

PictureCache::~PictureCache() {
  for (auto& slot : kept_) {
    const Kept* kept = slot.load();
    if (kept != nullptr) room_->give_back(static_cast<std::int64_t>(kept->image.pixels.size()));
    delete kept;
  }
}

ImageView PictureCache::at(std::int64_t index, const std::function<Image()>& make) const {
  std::atomic<const Kept*>& slot = kept_[static_cast<std::size_t>(index)];
  if (const Kept* kept = slot.load(std::memory_order_acquire)) {
    if (kept->where < 0) return view_of(kept->image);
    Image image(kept->image.height, kept->image.width, kept->image.channels);
    return view_owning(room_->read(kept->where, image.pixels) ? std::move(image) : make());
  }
  Image image = make();
  const auto bytes = static_cast<std::int64_t>(image.pixels.size());
  if (!room_->take(bytes)) return view_owning(std::move(image));
  auto kept = std::make_unique<Kept>();
  const Kept* before = nullptr;
  if (room_->on_disk()) {
    kept->where = room_->write(image.pixels);
    kept->image.height = image.height;
    kept->image.width = image.width;
    kept->image.channels = image.channels;
    if (kept->where >= 0 &&
        slot.compare_exchange_strong(before, kept.get(), std::memory_order_acq_rel)) {
      kept.release();
    }
    return view_owning(std::move(image));
  }
  kept->image = std::move(image);
  if (slot.compare_exchange_strong(before, kept.get(), std::memory_order_acq_rel)) {
    return view_of(kept.release()->image);
  }
  room_->give_back(bytes);  // another thread was first
  return view_of(before->image);
}

}  // namespace tapescope
