// What was seen of pictures when they were last read, so that a million of them need not be read
// again to know which they are.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

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
  // the stamp that it had. May be called from several threads.
  bool fill_in(ImageFile& file) const;
  // What became known of `files`, all of which have their stamps.
  void add(std::span<const ImageFile> files);
  // Keeps what was added, where that is `keep_from` pictures or more and anything is new.
  void keep(std::int64_t keep_from) const;

 private:
  struct Facts {
    FileStamp stamp;
    std::uint64_t hash = 0;
    ImageSize size;
    bool turned = false;
  };
  std::string root_, key_, bytes_;
  std::int64_t clock_;
  std::unordered_map<std::string_view, Facts> known_;  // names in bytes_
  Packer added_;
  std::int64_t count_ = 0;
  bool changed_ = false;
};

}  // namespace tapescope
