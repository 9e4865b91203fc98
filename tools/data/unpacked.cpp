#include "tools/data/unpacked.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "engine/error.h"
#include "tools/data/tar_index.h"
#include "tools/files/atomic_file.h"
#include "tools/files/file_stamp.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"
#include "tools/files/user_cache.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUnpackedKind = "unpacked";

// Whether `plain` is what was unpacked of the file with this stamp.
bool is_unpacked(const std::string& key, const FileStamp& packed, const fs::path& plain) {
  const std::string kept = cached(kUnpackedKind, key).value_or("");
  Unpacker from(kept);
  const bool same = FileStamp::unpack(from) == packed && FileStamp::unpack(from) == stamp_of(plain);
  return same && from.at_end();
}

// Of what was unpacked earlier: what was not asked for in 30 days.
void remove_unused(const fs::path& folder) {
  constexpr auto kKept = std::chrono::hours(24 * 30);
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != ".tar") continue;
    std::error_code none;
    fs::path asked = it->path();
    asked.replace_extension(".kept");
    const auto time = fs::last_write_time(fs::exists(asked, none) ? asked : it->path(), none);
    if (!none && time < fs::file_time_type::clock::now() - kKept) fs::remove(it->path(), none);
  }
}

void expect_room(const fs::path& folder, const fs::path& shard) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error || space.available >= std::uintmax_t{1} << 30) return;
  throw failure(
      "{}: less than 1 GiB is left in '{}' to unpack it to; make room, or set XDG_CACHE_HOME to a "
      "folder that has some",
      printable(shard.string()), printable(folder.string()));
}

}  // namespace

bool is_shard_name(const fs::path& path) {
  static constexpr std::array<std::string_view, 4> kEndings = {".tar", ".tar.gz", ".tgz",
                                                               ".tar.zst"};
  return std::any_of(kEndings.begin(), kEndings.end(),
                     [&](std::string_view ending) { return has_ending(path, ending); });
}

fs::path plain_tar(const fs::path& shard) {
  if (has_ending(shard, ".tar")) return shard;
  std::error_code error;
  const std::string key = fs::canonical(shard, error).string();
  fs::path plain = cached_file(kUnpackedKind, key).replace_extension(".tar");
  if (error || cache_folder().empty()) {
    throw failure(
        "{}: is unpacked to the user's cache folder, and there is none: set XDG_CACHE_HOME, or "
        "unpack it",
        printable(shard.string()));
  }
  const std::int64_t clock = clock_now();
  const FileStamp packed = stamp_of(shard);
  if (is_unpacked(key, packed, plain)) return plain;
  make_cache_folder();
  remove_unused(cache_folder());
  AtomicFile file(plain);
  std::uint64_t since_asked = 0;
  expect_room(cache_folder(), shard);
  unpack(shard, [&](std::span<const std::byte> piece) {
    file.write(piece);
    since_asked += piece.size();
    if (since_asked < std::uint64_t{64} << 20) return;
    since_asked = 0;
    expect_room(cache_folder(), shard);
  });
  if (is_unpacked(key, packed, plain)) return plain;  // another run was faster, and reads from it
  file.commit(Outlives::kill);
  if (packed.settled(clock)) {
    Packer to;
    packed.pack(to);
    stamp_of(plain).pack(to);
    keep_cached(kUnpackedKind, key, to.bytes());
  }
  return plain;
}

}  // namespace tapescope
