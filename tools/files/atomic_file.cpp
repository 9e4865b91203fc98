#include "tools/files/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "engine/error.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

Error cannot(const fs::path& path, const char* doing, int error) {
  return failure(
      "{}: cannot be written ({}: {}); check that the folder exists, is writable and has room",
      printable(path.string()), doing, std::strerror(error));
}

// ".<beginning of the name>.<process>-<number>.tmp" beside `path`, open and new. A name may have
// 255 bytes, so that not all of a long one fits. Another host's process of the same number may be
// at work in the folder: a name that exists already is not taken.
int open_temporary(const fs::path& path, fs::path& temporary) {
  static std::atomic<unsigned> number{0};
  std::string name = path.filename().string();
  std::size_t length = std::min<std::size_t>(name.size(), 64);
  while (length < name.size() && length > 0 && (name[length] & 0xC0) == 0x80) --length;
  name.resize(length);
  for (;;) {
    temporary = path.parent_path() / fmt::format(".{}.{}-{}.tmp", name, ::getpid(), ++number);
    const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0 || errno != EEXIST) return file;
  }
}

// ".NAME.<digits>-<digits>.tmp", or without the second number as older versions had it.
bool is_temporary(std::string_view name) {
  if (!name.starts_with('.') || !name.ends_with(".tmp")) return false;
  name.remove_suffix(4);
  const std::size_t dot = name.rfind('.');
  const std::string_view numbers = name.substr(dot + 1);
  return dot > 0 && !numbers.empty() && numbers.find_first_not_of("0123456789-") == numbers.npos;
}

// Some file systems cannot flush; that is no error.
bool flush(int file) {
  return ::fsync(file) == 0 || errno == EINVAL || errno == ENOTSUP || errno == ENOSYS;
}

// What is written: of a link, the file it points to.
fs::path target_of(const fs::path& name) {
  std::error_code error;
  if (!fs::is_symlink(fs::symlink_status(name, error))) return name;
  const fs::path target = fs::canonical(name, error);
  return error ? name : target;
}

// A device or a pipe: there is nothing to replace.
bool is_device(const fs::path& path) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  return fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
}

void write_through(const fs::path& path, std::span<const std::span<const std::byte>> parts) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) throw cannot(path, "opening", errno);
  for (const auto& part : parts) {
    if (write_all(file, part)) continue;
    const int error = errno;
    ::close(file);
    throw cannot(path, "writing", error);
  }
  if (::close(file) != 0) throw cannot(path, "closing", errno);
}

}  // namespace

bool write_all(int file, std::span<const std::byte> bytes, std::int64_t offset) {
  while (!bytes.empty()) {
    const std::size_t count = std::min<std::size_t>(bytes.size(), 1u << 30);
    const ssize_t n = offset < 0 ? ::write(file, bytes.data(), count)
                                 : ::pwrite(file, bytes.data(), count, offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    if (offset >= 0) offset += n;
  }
  return true;
}

AtomicFile::AtomicFile(const fs::path& name) : name_(name), path_(target_of(name)) {
  file_ = open_temporary(path_, temporary_);
  if (file_ < 0) throw cannot(name_, "creating", errno);
}

AtomicFile::~AtomicFile() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(temporary_.c_str());
}

Error AtomicFile::stopped(const char* doing) {
  const int error = errno;
  if (file_ >= 0) ::close(file_);
  file_ = -1;
  ::unlink(temporary_.c_str());
  return cannot(name_, doing, error);
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (!write_all(file_, bytes)) throw stopped("writing");
}

void AtomicFile::commit(Outlives outlives) {
  if (outlives == Outlives::power && !flush(file_)) throw stopped("flushing");
  const int closed = ::close(file_);
  file_ = -1;
  if (closed != 0) throw stopped("closing");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) throw stopped("renaming");
  if (outlives == Outlives::kill) return;
  // The rename itself lives in the folder.
  const fs::path folder = path_.has_parent_path() ? path_.parent_path() : fs::path(".");
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    ::fsync(directory);
    ::close(directory);
  }
}

void write_atomically(const fs::path& name, std::span<const std::span<const std::byte>> parts,
                      Outlives outlives) {
  if (const fs::path path = target_of(name); is_device(path)) return write_through(path, parts);
  AtomicFile file(name);
  for (const auto& part : parts) file.write(part);
  file.commit(outlives);
}

void write_atomically(const fs::path& path, const std::string& text) {
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(text))};
  write_atomically(path, parts);
}

namespace {

// Why no file can be made beside `path`; 0: one was, and is gone again.
int error_of_making(const fs::path& path) {
  fs::path temporary;
  const int file = open_temporary(path, temporary);
  if (file < 0) return errno;
  ::close(file);
  ::unlink(temporary.c_str());
  return 0;
}

void expect(int error, const std::string& option, const fs::path& path) {
  if (error == 0) return;
  throw usage_error("{} '{}' cannot be written ({}); nothing was done: choose another place",
                    option, printable(path.string()), std::strerror(error));
}

}  // namespace

void expect_writable(const std::string& option, const fs::path& file) {
  const fs::path path = target_of(file);
  std::error_code ignored;
  if (is_device(path)) return expect(::access(path.c_str(), W_OK) == 0 ? 0 : errno, option, file);
  expect(fs::is_directory(path, ignored) ? EISDIR : error_of_making(path), option, file);
}

void expect_writable_folder(const std::string& option, const fs::path& folder) {
  std::error_code ignored;
  fs::path there = folder;  // or the nearest folder above that is there
  while (!there.empty() && !fs::exists(there, ignored)) there = there.parent_path();
  expect(error_of_making(there / "output"), option, folder);
}

void remove_stale_temporaries(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    std::error_code ignored;
    if (is_temporary(entries->path().filename().string()) &&
        fs::is_regular_file(entries->symlink_status(ignored))) {
      fs::remove(entries->path(), ignored);
    }
  }
}

}  // namespace tapescope
