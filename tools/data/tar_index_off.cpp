// In the place of tar_index.cpp where libarchive is not there.
#include "engine/error.h"
#include "tools/data/tar_index.h"
#include "tools/files/text.h"

namespace tapescope {

TarIndex read_tar(const std::filesystem::path& path,
                  const std::function<bool(std::string_view name)>&) {
  throw usage_error(
      "{}: is a tar file, and this build reads none: install libarchive-dev and build again, or "
      "unpack its pictures to a folder per class and name the folder that holds these",
      printable(path.string()));
}
void unpack(const std::filesystem::path& packed,
            const std::function<void(std::span<const std::byte>)>&) {
  read_tar(packed, {});
}
std::string tar_library() { return ""; }

}  // namespace tapescope
