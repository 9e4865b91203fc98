// What lies where in a tar file, by libarchive.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tapescope {

struct TarMember {
  std::string name;  // as it stands there: it may lead anywhere, and is no path to open
  std::int64_t offset = 0, bytes = 0;  // of its content in the tar file
  std::string text = {};               // the content itself, where it was asked for
};

struct TarIndex {
  std::vector<TarMember> members;  // regular files in their order, whole ones only
  std::string broken;              // "is cut off ...": what is wrong behind them; else empty
};

// Plain tar: ustar, GNU's and pax. `wanted` says of whom the content is read along; members that
// hold more than kMostTarText bytes are not asked about. Throws a usage error where this build has
// no libarchive or the file cannot be opened.
constexpr std::int64_t kMostTarText = 1 << 20;
TarIndex read_tar(const std::filesystem::path& path,
                  const std::function<bool(std::string_view name)>& wanted);

// Unpacks gzip or Zstandard, piece by piece. `take` may throw. Throws a usage error where this
// build has no libarchive or the file is damaged or cut off.
void unpack(const std::filesystem::path& packed,
            const std::function<void(std::span<const std::byte>)>& take);

// "libarchive 3.6.2"; empty where this build has none.
std::string tar_library();

}  // namespace tapescope
