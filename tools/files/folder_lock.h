// A folder that one process at a time writes into.
#pragma once

#include <filesystem>
#include <string>

namespace tapescope {

// Makes the folder and holds FOLDER/.lock, which says who does (process, host) and is gone when the
// holder ends, however it ends: the lock is the system's (flock), the file only its name. Readers
// need none.
class FolderLock {
 public:
  // Throws a usage error where another process holds the folder, naming it. Where the folder cannot
  // be made or written into: a usage error or a failure, as blame_of() has it.
  explicit FolderLock(std::filesystem::path folder);
  FolderLock(const FolderLock&) = delete;
  ~FolderLock();

  // A sentence where the file system has no locks, else empty.
  const std::string& notice() const { return notice_; }

 private:
  std::filesystem::path folder_;
  bool made_folder_ = false;
  int file_ = -1;
  std::string notice_;
};

}  // namespace tapescope
