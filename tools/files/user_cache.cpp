#include "tools/files/user_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "engine/error.h"
#include "engine/hash.h"
#include "tools/files/atomic_file.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

// The number counts versions of what is kept. On a machine of another byte order it reads
// otherwise, and the file is another version's.
constexpr std::uint64_t kMagic = 0x7461'7065'6361'0001;
constexpr std::string_view kEnding = ".kept";

struct Head {
  std::uint64_t magic, hash, key_bytes, content_bytes;
};

std::uint64_t hash_of(std::string_view key, std::string_view content) {
  // Eight bytes at a time: a list of a million pictures is 100 MB.
  std::uint64_t hash = mix(key.size(), content.size());
  for (const std::string_view part : {key, content}) {
    std::size_t at = 0;
    for (; at + 8 <= part.size(); at += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, part.data() + at, 8);
      hash = (hash ^ word) * 0x9E3779B97F4A7C15ull;
      hash ^= hash >> 32;
    }
    hash = stable_hash(part.substr(at), hash);
  }
  return hash;
}

fs::path file_for(const fs::path& folder, std::string_view kind, std::string_view key) {
  return folder / fmt::format("{}-{:016x}{}", kind, mix(stable_hash(key)), kEnding);
}

std::string whole_own_file(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return "";
  struct stat state {};
  std::string bytes;
  if (::fstat(file, &state) == 0 && S_ISREG(state.st_mode) && state.st_uid == ::geteuid() &&
      state.st_size >= 0 && static_cast<std::uintmax_t>(state.st_size) <= kMostCacheBytes) {
    bytes.resize(static_cast<std::size_t>(state.st_size));
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n = ::read(file, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      done += static_cast<std::size_t>(n);
    }
    bytes.resize(done);
    ::futimens(file, nullptr);  // used now
  }
  ::close(file);
  return bytes;
}

// Removes what was not used for longest until `room` bytes more are within the limit.
void make_room(const fs::path& folder, std::uintmax_t room) {
  struct Kept {
    fs::file_time_type used;
    std::uintmax_t bytes;
    fs::path path;
  };
  std::vector<Kept> all;
  std::uintmax_t bytes = room;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code gone;
    if (it->path().extension() != kEnding || !it->is_regular_file(gone)) continue;
    all.push_back({it->last_write_time(gone), it->file_size(gone), it->path()});
    if (gone) all.pop_back();
    if (!gone) bytes += all.back().bytes;
  }
  std::sort(all.begin(), all.end(), [](const Kept& a, const Kept& b) { return a.used < b.used; });
  for (const Kept& kept : all) {
    if (bytes <= kMostCacheBytes) return;
    std::error_code ignored;
    fs::remove(kept.path, ignored);
    bytes -= kept.bytes;
  }
}

}  // namespace

fs::path cache_folder() {
  for (const auto& [variable, below] :
       {std::pair("XDG_CACHE_HOME", "tapescope"), {"HOME", ".cache/tapescope"}}) {
    const char* value = std::getenv(variable);
    // The specification has relative paths ignored.
    if (value != nullptr && value[0] == '/') return fs::path(value) / below;
  }
  return {};
}

fs::path cached_file(std::string_view kind, std::string_view key) {
  const fs::path folder = cache_folder();
  return folder.empty() ? folder : file_for(folder, kind, key);
}

void make_cache_folder() {
  const fs::path folder = cache_folder();
  std::error_code error;
  fs::create_directories(folder.parent_path(), error);
  // What pictures are called is nobody else's business.
  if (fs::create_directory(folder, error)) {
    fs::permissions(folder, fs::perms::owner_all, error);
  }
}

std::optional<std::string> cached(std::string_view kind, std::string_view key) {
  const fs::path folder = cache_folder();
  if (folder.empty()) return {};
  std::string bytes = whole_own_file(file_for(folder, kind, key));
  Head head{};
  if (bytes.size() < sizeof head) return {};
  std::memcpy(&head, bytes.data(), sizeof head);
  const std::string_view rest = std::string_view(bytes).substr(sizeof head);
  if (head.magic != kMagic || head.key_bytes != key.size() || rest.size() < head.key_bytes ||
      rest.size() - head.key_bytes != head.content_bytes || !rest.starts_with(key) ||
      head.hash != hash_of(key, rest.substr(key.size()))) {
    return {};
  }
  bytes.erase(0, sizeof head + key.size());
  return bytes;
}

void keep_cached(std::string_view kind, std::string_view key, std::string_view content) {
  const fs::path folder = cache_folder();
  if (folder.empty() || content.size() + 4096 + key.size() > kMostCacheBytes) return;
  make_cache_folder();
  make_room(folder, content.size());
  const Head head{kMagic, hash_of(key, content), key.size(), content.size()};
  try {
    AtomicFile file(file_for(folder, kind, key));  // a pipe of that name is replaced, too
    file.write(std::as_bytes(std::span(&head, 1)));
    file.write(std::as_bytes(std::span(key)));
    file.write(std::as_bytes(std::span(content)));
    file.commit(Outlives::kill);
  } catch (const Error&) {
    // It is found out again.
  }
}

std::int64_t Unpacker::number() {
  std::int64_t value = 0;
  ok_ = ok_ && left_.size() >= sizeof value;
  if (!ok_) return 0;
  std::memcpy(&value, left_.data(), sizeof value);
  left_.remove_prefix(sizeof value);
  return value;
}

std::string_view Unpacker::text() {
  const std::size_t size = count(1);
  const std::string_view value = left_.substr(0, size);
  left_.remove_prefix(size);
  return value;
}

std::size_t Unpacker::count(std::size_t least) {
  const std::int64_t value = number();
  ok_ = ok_ && value >= 0 && static_cast<std::uint64_t>(value) <= left_.size() / least;
  return ok_ ? static_cast<std::size_t>(value) : 0;
}

}  // namespace tapescope
