#include "tools/files/file_stamp.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <chrono>

#include "tools/files/user_cache.h"

namespace tapescope {
namespace {

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::int64_t clock_ahead = 0;

}  // namespace

bool FileStamp::settled(std::int64_t clock) const {
  constexpr std::int64_t kTick = 2'000'000'000;
  return bytes >= 0 && std::max(time, changed) < clock - kTick;
}

void FileStamp::pack(Packer& to) const {
  for (const std::int64_t value : {bytes, time, changed, inode}) to.number(value);
}

FileStamp FileStamp::unpack(Unpacker& from) {
  FileStamp stamp;
  for (std::int64_t* value : {&stamp.bytes, &stamp.time, &stamp.changed, &stamp.inode}) {
    *value = from.number();
  }
  return stamp;
}

FileStamp stamp_of(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {status.st_size, nanoseconds(status.st_mtim), nanoseconds(status.st_ctim),
          static_cast<std::int64_t>(status.st_ino)};
}

std::int64_t clock_now() {
  using std::chrono::system_clock;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             system_clock::now().time_since_epoch())
             .count() +
         clock_ahead;
}

void set_clock_ahead(std::int64_t nanoseconds) { clock_ahead = nanoseconds; }

bool shows_changes(const std::filesystem::path& folder) {
  constexpr std::int64_t kBcachefs = 0xca451a4e, kZfs = 0x2fc12fc1;  // not in every header
  struct statfs status {};
  if (::statfs(folder.c_str(), &status) != 0) return false;
  switch (static_cast<std::int64_t>(status.f_type) & 0xffffffff) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case TMPFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
    case kBcachefs:
    case kZfs:
      return true;
    default:
      return false;
  }
}

}  // namespace tapescope
