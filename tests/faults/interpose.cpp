// Makes calls of the system fail, write short or kill the process, to be preloaded (LD_PRELOAD).
//
//   TAPESCOPE_FAULT_FOLDER  calls on paths beneath it count
//   TAPESCOPE_FAULT_CALLS   which: open, write, fsync, rename, mkdir, unlink, comma-separated
//   (write
//                           is also pwrite, fsync also fdatasync); empty: all of them
//   TAPESCOPE_FAULT_AT      the call that is hit, counted from 1; 0: none
//   TAPESCOPE_FAULT_TIMES   so many from there on (1)
//   TAPESCOPE_FAULT_ACTION  EIO, ENOSPC, ...; short (half is written); kill-before, kill-after
//   TAPESCOPE_FAULT_COUNT   a file that has the number of calls at the end
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

// As its number is named in errno.h.
int number_of(const char* name) {
  static const struct {
    const char* name;
    int number;
  } kKnown[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EMFILE", EMFILE}, {"EFBIG", EFBIG},
                {"EDQUOT", EDQUOT}, {"EROFS", EROFS},   {"EINTR", EINTR},   {"ENOLCK", ENOLCK},
                {"EACCES", EACCES}, {"ESTALE", ESTALE}};
  for (const auto& known : kKnown) {
    if (std::strcmp(known.name, name) == 0) return known.number;
  }
  return 0;
}

struct Plan {
  const char* folder = std::getenv("TAPESCOPE_FAULT_FOLDER");
  const char* calls = std::getenv("TAPESCOPE_FAULT_CALLS");
  const char* action = std::getenv("TAPESCOPE_FAULT_ACTION");
  const char* count_file = std::getenv("TAPESCOPE_FAULT_COUNT");
  long at = number("TAPESCOPE_FAULT_AT", 0), times = number("TAPESCOPE_FAULT_TIMES", 1);
  std::atomic<long> seen{0};

  static long number(const char* name, long otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::atol(text);
  }
  ~Plan() {
    if (count_file == nullptr) return;
    char text[32];
    const int n = std::snprintf(text, sizeof text, "%ld\n", seen.load());
    const long file = syscall(SYS_openat, AT_FDCWD, count_file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file >= 0) syscall(SYS_write, file, text, n);
  }
  bool wants(const char* call) const {
    if (calls == nullptr || *calls == '\0') return true;
    const std::size_t length = std::strlen(call);
    for (const char* at = std::strstr(calls, call); at != nullptr; at = std::strstr(at + 1, call)) {
      if ((at == calls || at[-1] == ',') && (at[length] == ',' || at[length] == '\0')) return true;
    }
    return false;
  }
};
Plan& plan() {
  static Plan instance;
  return instance;
}
[[maybe_unused]] const Plan& at_start = plan();

enum class Fate { none, fails, shortened, killed_after };

// What becomes of this call on `path`; a call that is to be killed before does not come back.
Fate fate_of(const char* call, const char* path) {
  Plan& p = plan();
  if (p.folder == nullptr || std::strncmp(path, p.folder, std::strlen(p.folder)) != 0 ||
      !p.wants(call)) {
    return Fate::none;
  }
  const long number = ++p.seen;
  if (p.at == 0 || number < p.at || number >= p.at + p.times) return Fate::none;
  if (std::strcmp(p.action, "kill-before") == 0) syscall(SYS_kill, getpid(), SIGKILL);
  if (std::strcmp(p.action, "kill-after") == 0) return Fate::killed_after;
  if (std::strcmp(p.action, "short") == 0) {
    return std::strcmp(call, "write") == 0 ? Fate::shortened : Fate::none;
  }
  errno = number_of(p.action);
  return Fate::fails;
}
Fate fate_of(const char* call, int file) {
  char link[64], path[PATH_MAX];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return Fate::none;
  path[n] = '\0';
  return fate_of(call, path);
}

template <class F>
F next(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

// Runs `call`, or not.
template <class Call>
auto through(Fate fate, Call call) -> decltype(call()) {
  if (fate == Fate::fails) return -1;
  const auto result = call();
  if (fate == Fate::killed_after) syscall(SYS_kill, getpid(), SIGKILL);
  return result;
}

int opened(const char* name, const char* path, int flags, mode_t mode) {
  return through(fate_of("open", path),
                 [&] { return next<int (*)(const char*, int, mode_t)>(name)(path, flags, mode); });
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const auto mode = static_cast<mode_t>(va_arg(rest, int));
  va_end(rest);
  return opened("open", path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const auto mode = static_cast<mode_t>(va_arg(rest, int));
  va_end(rest);
  return opened("open64", path, flags, mode);
}
ssize_t write(int file, const void* bytes, size_t size) {
  const Fate fate = fate_of("write", file);
  if (fate == Fate::shortened && size > 1) size /= 2;
  return through(fate, [&]() -> ssize_t { return syscall(SYS_write, file, bytes, size); });
}
ssize_t pwrite(int file, const void* bytes, size_t size, off_t offset) {
  const Fate fate = fate_of("write", file);
  if (fate == Fate::shortened && size > 1) size /= 2;
  return through(fate,
                 [&]() -> ssize_t { return syscall(SYS_pwrite64, file, bytes, size, offset); });
}
ssize_t pwrite64(int file, const void* bytes, size_t size, off_t offset) {
  return pwrite(file, bytes, size, offset);
}
int fsync(int file) {
  return through(fate_of("fsync", file),
                 [&] { return static_cast<int>(syscall(SYS_fsync, file)); });
}
int fdatasync(int file) {
  return through(fate_of("fsync", file),
                 [&] { return static_cast<int>(syscall(SYS_fdatasync, file)); });
}
int rename(const char* from, const char* to) {
  return through(fate_of("rename", to),
                 [&] { return next<int (*)(const char*, const char*)>("rename")(from, to); });
}
int mkdir(const char* path, mode_t mode) {
  return through(fate_of("mkdir", path),
                 [&] { return next<int (*)(const char*, mode_t)>("mkdir")(path, mode); });
}
int unlink(const char* path) {
  return through(fate_of("unlink", path),
                 [&] { return next<int (*)(const char*)>("unlink")(path); });
}
int remove(const char* path) {
  return through(fate_of("unlink", path),
                 [&] { return next<int (*)(const char*)>("remove")(path); });
}
int flock(int file, int operation) {
  return through(fate_of("lock", file),
                 [&] { return static_cast<int>(syscall(SYS_flock, file, operation)); });
}

}  // extern "C"
