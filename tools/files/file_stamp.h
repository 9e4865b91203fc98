// By what a file or folder is seen to be the one that was looked at before.
#pragma once

#include <cstdint>
#include <filesystem>

namespace tapescope {

class Packer;
class Unpacker;

// Through links. A file that is written to gets another `time` and `changed`; one whose times were
// set back by hand, or that took another's place, another `changed` or `inode`. A folder's change
// when an entry comes, goes or is renamed, and not when a file in it is written to.
struct FileStamp {
  std::int64_t bytes = -1;             // -1: it could not be looked at
  std::int64_t time = 0, changed = 0;  // of the content and of all else, in nanoseconds since 1970
  std::int64_t inode = 0;
  bool operator==(const FileStamp&) const = default;

  // Whether what was read after the clock showed `clock` is what this stamp will always stand for.
  // Not so within two seconds after the last change: as clocks of file systems tick (FAT's every
  // two seconds), another change would not show.
  bool settled(std::int64_t clock) const;

  void pack(Packer& to) const;
  static FileStamp unpack(Unpacker& from);
};
FileStamp stamp_of(const std::filesystem::path& path);

// Whether the folder lies on a file system that gives it another stamp as soon as an entry comes or
// goes. Network file systems remember stamps for a while, and those of object stores make them up.
bool shows_changes(const std::filesystem::path& folder);

std::int64_t clock_now();                        // in nanoseconds since 1970
void set_clock_ahead(std::int64_t nanoseconds);  // of clock_now(): for tests, which do not wait

}  // namespace tapescope
