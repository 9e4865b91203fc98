#include "tools/files/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/error.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

bool write_all(int file, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file, bytes.data(), std::min<std::size_t>(bytes.size(), 1u << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

void write_atomically(const fs::path& path, std::span<const std::span<const std::byte>> parts) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const fs::path temporary =
      folder / fmt::format(".{}.{}.tmp", path.filename().string(), ::getpid());
  const auto stop = [&](int file, const char* doing) {
    const int error = errno;
    if (file >= 0) ::close(file);
    ::unlink(temporary.c_str());
    return failure(
        "{}: cannot be written ({}: {}); check that the folder exists, is writable and has "
        "room",
        path.string(), doing, std::strerror(error));
  };
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) throw stop(-1, "creating");
  for (const auto& part : parts) {
    if (!write_all(file, part)) throw stop(file, "writing");
  }
  if (::fsync(file) != 0) throw stop(file, "flushing");
  if (::close(file) != 0) throw stop(-1, "closing");
  if (::rename(temporary.c_str(), path.c_str()) != 0) throw stop(-1, "renaming");
  // The rename itself lives in the folder. Some file systems cannot flush one; that is no error.
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    ::fsync(directory);
    ::close(directory);
  }
}

void write_atomically(const fs::path& path, const std::string& text) {
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(text))};
  write_atomically(path, parts);
}

}  // namespace tapescope
