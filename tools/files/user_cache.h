// What a run found out and the next one would find out again, kept in the user's cache folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace tapescope {

// $XDG_CACHE_HOME/tapescope, or ~/.cache/tapescope; empty where neither variable names a folder by
// its whole path.
std::filesystem::path cache_folder();

// What keep_cached put there for `key`. Nothing where it never did, or where the file is torn,
// another user's, of another version of this program or no regular file. What is read counts as
// used now.
std::optional<std::string> cached(std::string_view kind, std::string_view key);
// `kind` is a word that begins the file's name. Of all that is kept, what was not used for longest
// goes while it is more than kMostCacheBytes. Where nothing can be written nothing happens.
void keep_cached(std::string_view kind, std::string_view key, std::string_view content);

// The file that holds it, was it ever kept; empty where there is no cache folder. Its time is that
// of its last use.
std::filesystem::path cached_file(std::string_view kind, std::string_view key);
// Makes the folder, for nobody else to read. Nothing happens where it cannot be made.
void make_cache_folder();

constexpr std::uintmax_t kMostCacheBytes = std::uintmax_t{2} << 30;

// Numbers and texts of a cached file, one after another.
class Packer {
 public:
  void number(std::int64_t value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(std::string_view value) {
    number(static_cast<std::int64_t>(value.size()));
    bytes_.append(value);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// Reads them again. Beyond the end come zeros and empty texts, and ok() is false from then on.
class Unpacker {
 public:
  explicit Unpacker(std::string_view bytes) : left_(bytes) {}
  std::int64_t number();
  std::string_view text();  // lives as long as the bytes do
  // A number of items, each of which takes `least` bytes or more.
  std::size_t count(std::size_t least);
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && left_.empty(); }

 private:
  std::string_view left_;
  bool ok_ = true;
};

}  // namespace tapescope
