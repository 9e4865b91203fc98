#include "tools/onnx/external_data.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/error.h"
#include "tools/files/text_file.h"

namespace tapescope::onnx {
namespace {

namespace fs = std::filesystem;

constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;  // a pipe does not hold anybody up
constexpr std::size_t kMostFiles = 4096;

// Throws where the name alone leads out of the folder.
void expect_inside(const std::string& what, const std::string& location) {
  const fs::path path(location);
  bool inside = !location.empty() && path.is_relative() &&
                location.find('\0') == std::string::npos && location.size() < 4096;
  for (const fs::path& part : path) inside = inside && part != "..";
  if (inside) return;
  throw usage_error(
      "{} is in the file '{}', a name that leads out of the model's folder; a model that you "
      "trust is read with --allow-outside",
      what, shown(location));
}

// One folder after the other, none of them a link: for kernels without openat2.
int open_by_parts(int folder, const fs::path& path) {
  int at = ::dup(folder);
  for (auto part = path.begin(); at >= 0 && part != path.end();) {
    const std::string name = part->string();
    const bool last = ++part == path.end();
    const int next =
        ::openat(at, name.c_str(), (last ? kFlags : kFlags | O_DIRECTORY) | O_NOFOLLOW);
    const int why = errno;
    ::close(at);
    errno = why;
    at = next;
  }
  return at;
}

int open_beneath(int folder, const std::string& location) {
  open_how how = {};
  how.flags = kFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long opened = ::syscall(SYS_openat2, folder, location.c_str(), &how, sizeof how);
  const bool refused = opened < 0 && (errno == ENOSYS || errno == EPERM || errno == EINVAL);
  return refused ? open_by_parts(folder, fs::path(location).lexically_normal())
                 : static_cast<int>(opened);
}

}  // namespace

ExternalFiles::ExternalFiles(fs::path folder, bool allow_outside)
    : folder_(folder.empty() ? fs::path(".") : std::move(folder)), allow_outside_(allow_outside) {}

ExternalFiles::~ExternalFiles() {
  for (const auto& [location, file] : files_) ::close(file.descriptor);
}

const ExternalFiles::File& ExternalFiles::open(const std::string& what,
                                               const std::string& location) {
  if (const auto known = files_.find(location); known != files_.end()) return known->second;
  if (files_.size() >= kMostFiles) {
    throw usage_error("its tensors lie in more than {} files", kMostFiles);
  }
  if (!allow_outside_) expect_inside(what, location);
  const int folder = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  File file;
  if (folder >= 0) {
    file.descriptor = allow_outside_ ? ::openat(folder, location.c_str(), kFlags)
                                     : open_beneath(folder, location);
  }
  const int why = errno;
  if (folder >= 0) ::close(folder);
  if (file.descriptor < 0) {
    if (why == ELOOP || why == EXDEV || (why == ENOTDIR && !allow_outside_)) {
      throw usage_error(
          "{} is in the file '{}', which is a link or behind one, as download caches keep files; "
          "where you trust the model, read it with --allow-outside",
          what, shown(location));
    }
    throw usage_error("{} is in the file '{}' beside the model, which cannot be opened: {}", what,
                      shown(location), std::strerror(why));
  }
  struct stat info = {};
  const bool regular = ::fstat(file.descriptor, &info) == 0 && S_ISREG(info.st_mode);
  if (!regular || (info.st_nlink != 1 && !allow_outside_)) {
    ::close(file.descriptor);
    if (!regular) throw usage_error("{} is in '{}', which is no file", what, shown(location));
    throw usage_error(
        "{} is in the file '{}', which has another name elsewhere (a hard link); where you trust "
        "the model, read it with --allow-outside",
        what, shown(location));
  }
  file.size = info.st_size;
  return files_.emplace(location, file).first->second;
}

std::int64_t ExternalFiles::check(const std::string& what, const std::string& location,
                                  std::int64_t offset, std::int64_t length) {
  const File& file = open(what, location);
  if (length < 0 && offset >= 0 && offset <= file.size) length = file.size - offset;
  if (offset < 0 || length < 0 || offset > file.size || length > file.size - offset) {
    throw usage_error("{} should be {} bytes at {} of '{}', which has {} bytes", what, length,
                      offset, shown(location), file.size);
  }
  return length;
}

void ExternalFiles::read(const std::string& what, const std::string& location, std::int64_t offset,
                         std::int64_t length, void* into) {
  const File& file = open(what, location);
  char* to = static_cast<char*>(into);
  while (length > 0) {
    const auto size = static_cast<std::size_t>(std::min<std::int64_t>(length, 1 << 30));
    const ssize_t got = ::pread(file.descriptor, to, size, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      throw usage_error("{} cannot be read from '{}': {}", what, shown(location),
                        got == 0 ? "the file has become shorter" : std::strerror(errno));
    }
    to += got, offset += got, length -= got;
  }
}

}  // namespace tapescope::onnx
