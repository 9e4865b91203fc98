#include "tools/files/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include "tools/files/atomic_file.h"

namespace tapescope {
namespace {

constexpr std::size_t kMostPending = std::size_t{64} << 20;  // hours of a history

}  // namespace

AppendFile::~AppendFile() {
  if (file_ >= 0) ::close(file_);
}

bool AppendFile::append(std::string_view record) {
  ++missing_;
  if (pending_.size() + record.size() > kMostPending) {
    ++given_up_;
  } else {
    pending_ += record;
  }
  return write_pending();
}

bool AppendFile::flush() {
  if (!write_pending()) return false;
  if (file_ >= 0) ::fdatasync(file_);  // best effort: the records are with the system
  return true;
}

// At the end of the last whole record: what a failed try left there is written over by the same
// bytes.
bool AppendFile::write_pending() {
  if (pending_.empty()) return missing_ == 0;
  if (file_ < 0) {
    std::error_code ignored;  // open() will say it
    if (path_.has_parent_path()) std::filesystem::create_directories(path_.parent_path(), ignored);
    file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  }
  struct stat info {};
  if (file_ < 0 || ::fstat(file_, &info) != 0) {
    cause_ = std::strerror(errno);
  } else {
    size_ = size_ < 0 ? info.st_size : std::min<std::int64_t>(size_, info.st_size);
    if (write_all(file_, std::as_bytes(std::span(pending_)), size_)) {
      size_ += static_cast<std::int64_t>(pending_.size());
      pending_.clear();
      missing_ = given_up_;
      return missing_ == 0;
    }
    cause_ = std::strerror(errno);
  }
  // Opened anew the next time: a network's file may have gone stale.
  if (file_ >= 0) ::close(file_);
  file_ = -1;
  return false;
}

}  // namespace tapescope
