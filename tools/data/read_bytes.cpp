// Files into memory.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/error.h"
#include "tools/data/image.h"
#include "tools/data/image_format.h"
#include "tools/files/file_stamp.h"

namespace tapescope {
namespace {

const char* kind_of(mode_t mode) {
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

// An open regular file, or what a link leads to.
class File {
 public:
  explicit File(const std::filesystem::path& path) : path_(path.string()) {
    struct stat state = {};
    // Opening a pipe would wait for its writer, opening a socket fails without saying why.
    file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const int error = errno;
    const bool known = file_ >= 0 ? ::fstat(file_, &state) == 0 : ::stat(path.c_str(), &state) == 0;
    try {
      if (known && S_ISDIR(state.st_mode)) {
        throw usage_error("{}: is a folder, not a file; name a file in it", path_);
      }
      if (known && !S_ISREG(state.st_mode)) {
        throw usage_error("{}: is {}, not a regular file; write its content to a file first", path_,
                          kind_of(state.st_mode));
      }
      if (file_ < 0 || !known) {
        throw usage_error("{}: cannot be read ({}); check the path and its permissions", path_,
                          std::strerror(error));
      }
    } catch (...) {
      if (file_ >= 0) ::close(file_);
      throw;
    }
    state_ = state;
  }
  ~File() { ::close(file_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  std::size_t size() const { return static_cast<std::size_t>(state_.st_size); }
  bool is(const FileStamp& stamp) const {
    return state_.st_size == stamp.bytes &&
           static_cast<std::int64_t>(state_.st_ino) == stamp.inode &&
           std::int64_t{state_.st_mtim.tv_sec} * 1'000'000'000 + state_.st_mtim.tv_nsec ==
               stamp.time;
  }

  // As many as `to` has, from `offset` on.
  void read_at(std::int64_t offset, std::span<std::uint8_t> to) {
    while (!to.empty()) {
      const ssize_t n = ::pread(file_, to.data(), to.size(), offset);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        throw usage_error("{}: reading failed ({}); check the disk or copy the file again", path_,
                          n < 0 ? std::strerror(errno) : "it ends early");
      }
      to = to.subspan(static_cast<std::size_t>(n));
      offset += n;
    }
  }

  // Up to `room` bytes more at the end of `bytes`; false at the end of the file.
  bool read(std::vector<std::uint8_t>& bytes, std::size_t room) {
    const std::size_t had = bytes.size();
    bytes.resize(had + room);
    ssize_t n = 0;
    do {
      n = ::read(file_, bytes.data() + had, room);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
      throw usage_error("{}: reading failed ({}); check the disk or copy the file again", path_,
                        std::strerror(errno));
    }
    bytes.resize(had + static_cast<std::size_t>(n));
    return n > 0;
  }

 private:
  std::string path_;
  int file_ = -1;
  struct stat state_ {};
};

}  // namespace

std::vector<std::uint8_t> read_bytes(const std::filesystem::path& path, std::size_t most) {
  File file(path);
  if (file.size() > most) {
    throw usage_error("{}: is {} bytes long, and files of up to {} are read; make it smaller",
                      path.string(), file.size(), most);
  }
  std::vector<std::uint8_t> bytes;
  bytes.reserve(file.size() + 1);
  // A file may grow while it is read, and files of /proc say that they are empty.
  while (file.read(bytes, bytes.capacity() > bytes.size() ? bytes.capacity() - bytes.size()
                                                          : bytes.size() + 4096)) {
    if (bytes.size() > most) throw usage_error("{}: grows while it is read", path.string());
  }
  return bytes;
}

std::vector<std::uint8_t> read_part(const std::filesystem::path& path, std::int64_t offset,
                                    std::int64_t bytes, const FileStamp& stamp) {
  File file(path);
  if (!file.is(stamp)) {
    throw usage_error("{}: was written anew since it was opened; begin again", path.string());
  }
  std::vector<std::uint8_t> part(static_cast<std::size_t>(bytes));
  file.read_at(offset, part);
  return part;
}

std::vector<std::uint8_t> read_header_bytes(const std::filesystem::path& path) {
  File file(path);
  std::vector<std::uint8_t> bytes;
  bool more = file.read(bytes, 4096);
  const ImageFormat format = sniff_image(bytes).format;
  // PNG, WebP and TIFF may note their orientation at the end; a JPEG's notes and thumbnail come
  // before its size.
  const bool whole =
      format == ImageFormat::png || format == ImageFormat::webp || format == ImageFormat::tiff;
  while (more && bytes.size() < static_cast<std::size_t>(INT32_MAX) &&
         (whole || !stored_size(format, bytes))) {
    more = file.read(bytes, bytes.size() * 3);
  }
  return bytes;
}

}  // namespace tapescope
