// What was seen of pictures when they were last read, so that a million of them need not be read
// again to know which they are.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tools/data/image.h"
#include "tools/files/file_stamp.h"
#include "tools/files/user_cache.h"

namespace tapescope {

struct ImageFile;

class KnownPictures {
 public:
  // Of the pictures beneath `root`, as far as the user's cache knows them. `how` says what was done
  // to know them: what was looked at less closely is another's.
  KnownPictures(std::string root, std::string_view how);
  KnownPictures(const KnownPictures&) = delete;

  // Fills in content, size and whether it is turned, and says whether it could: the file must have
  // the stamp that it had. `position` is where it probably stands among those that were kept. May
  // be called from several threads.
  bool fill_in(ImageFile& file, std::size_t position) const;
  // Keeps what became known of these, all of which have their stamps, where they are `keep_from` or
  // more and any is new.
  void keep(std::span<const std::span<const ImageFile>> lists, std::int64_t keep_from) const;

 private:
  struct Facts {
    std::string_view name;  // in bytes_
    FileStamp stamp;
    std::uint64_t hash = 0;
    ImageSize size;
    bool turned = false;
  };
  const Facts* find(std::string_view name, std::size_t position) const;
  std::string root_, key_, bytes_;
  std::int64_t clock_;
  std::vector<Facts> known_;
  mutable std::once_flag by_name_once_;  // of a set that is as it was no name is looked up
  mutable std::unordered_map<std::string_view, const Facts*> by_name_;
};

}  // namespace tapescope
