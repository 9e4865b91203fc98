#include "tools/files/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

#include "engine/error.h"
#include "tools/files/atomic_file.h"
#include "tools/files/blame.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

std::string this_process() {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  return fmt::format("process {} on host {}", ::getpid(), host);
}

// What the holder wrote.
std::string holder_of(int file) {
  char text[400];
  const ssize_t n = ::pread(file, text, sizeof text, 0);
  std::string line(text, static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  line.resize(std::min(line.find('\n'), line.size()));
  return line.empty() ? "another process" : printable(line);
}

bool is_named(int file, const fs::path& path) {
  struct stat held {
  }, named{};
  return ::fstat(file, &held) == 0 && ::stat(path.c_str(), &named) == 0 &&
         held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

}  // namespace

FolderLock::FolderLock(fs::path folder) : folder_(std::move(folder)) {
  std::error_code error;
  made_folder_ = fs::create_directories(folder_, error);
  const fs::path path = folder_ / ".lock";
  const auto cannot = [&](const std::error_code& why) {
    if (made_folder_) ::rmdir(folder_.c_str());
    return Error(blame_of(why),
                 fmt::format("the folder '{}' cannot be written into: {}; choose another --out",
                             printable(folder_.string()), why.message()));
  };
  if (error) throw cannot(error);
  for (;;) {
    file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file_ < 0) throw cannot({errno, std::generic_category()});
    int status = 0;
    while ((status = ::flock(file_, LOCK_EX | LOCK_NB)) != 0 && errno == EINTR) {
    }
    if (status != 0 && errno == EWOULDBLOCK) {
      const std::string holder = holder_of(file_);
      ::close(file_);
      throw usage_error("'{}' is being written by {}; wait for its end, or choose another --out",
                        printable(folder_.string()), holder);
    }
    if (status != 0) {
      notice_ = fmt::format(
          "'{}' is on a file system without locks ({}): see to it that no other training writes "
          "into it",
          printable(folder_.string()), std::strerror(errno));
    } else if (!is_named(file_, path)) {
      ::close(file_);  // its holder has just ended and taken the name away
      continue;
    }
    break;
  }
  const std::string text = this_process() + "\n";
  // Best effort: on a full disk the lock holds, and is only not signed.
  if (::ftruncate(file_, 0) == 0) write_all(file_, std::as_bytes(std::span(text)), 0);
}

FolderLock::~FolderLock() {
  ::unlink((folder_ / ".lock").c_str());
  ::close(file_);
  if (made_folder_) ::rmdir(folder_.c_str());  // where nothing came into it
}

}  // namespace tapescope
