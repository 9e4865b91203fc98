// A list of picture files as a data set, with decoded pictures kept in memory.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tools/data/dataset.h"
#include "tools/data/folder_scan.h"
#include "tools/data/odd_pictures.h"
#include "tools/data/picture_cache.h"

namespace tapescope {

class KnownPictures;

struct ImageFile {
  std::string path;  // of a part of a shard: "train/000000.tar/cat/7.jpg"
  std::int64_t label = 0;
  // Set by check_files.
  PictureContent content = {};
  ImageSize size = {};  // 0 x 0: not known
  // The whole file, where it was read and not yet decoded. Its room is given back with it.
  std::vector<std::uint8_t> bytes = {};
  FileStamp stamp = {};  // of the file, or of the shard
  bool turned = false;   // by its EXIF orientation
  // Whether all that is to be told of it stays so while the stamp does, and is kept already.
  enum class Facts : unsigned char { passing, lasting, known } facts = Facts::passing;
  // A part of a shard: how much of `path` names the shard, and where its bytes are; 0: a file.
  std::size_t shard = 0;
  std::int64_t offset = 0, length = 0;
  std::shared_ptr<const std::string> plain = {};  // where the shard was unpacked to, if it was

  // The whole picture file. A usage error where it cannot be read, or the shard was written anew.
  std::vector<std::uint8_t> read() const;
  // At most its first `most` bytes; fewer, or none, where it cannot be read.
  std::vector<std::uint8_t> read_head(std::size_t most) const;
};

// Sets the stamps that are not there yet, and with them the contents' bytes and times.
void set_stamps(std::span<ImageFile> files);

class ImageFiles : public Dataset {
 public:
  // `decoded`: decoded pictures stay in `room`, and not only files that were read.
  ImageFiles(std::vector<ImageFile> files, std::vector<std::string> classes, int channels,
             std::shared_ptr<PictureRoom> room, Exif exif, bool decoded = true);
  ~ImageFiles() override;
  std::int64_t size() const override { return static_cast<std::int64_t>(files_.size()); }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::int64_t index) const override { return file(index).label; }
  std::string name(std::int64_t index) const override { return file(index).path; }
  ImageView image(std::int64_t index) const override;
  int channels() const override { return channels_; }
  ImageSize image_size(std::int64_t index) const override;
  PictureContent content(std::int64_t index) const override { return file(index).content; }

 private:
  const ImageFile& file(std::int64_t index) const {
    return files_[static_cast<std::size_t>(index)];
  }
  Image decoded(std::int64_t index) const;
  std::vector<ImageFile> files_;
  std::vector<std::string> classes_;
  int channels_;
  std::shared_ptr<PictureRoom> room_;
  Exif exif_;
  // What was read beforehand, until it is decoded: whoever takes it first.
  mutable std::vector<std::atomic<const std::vector<std::uint8_t>*>> unread_;
  std::optional<PictureCache> cache_;
};

// Reads every file and fills in what it is known by: looks at the structure only under `fail`,
// which throws for the first broken one in order, and decodes each under `skip`, which returns the
// indices of broken ones and what is wrong. Up to a quarter of `room` keeps what was read, so that
// it need not be read again. What `known` knows is not read; the first file's position there is
// `position`.
struct BadFile {
  std::size_t index = 0;
  std::string what;
};
std::vector<BadFile> check_files(std::vector<ImageFile>& files, BadImage on_bad_image,
                                 OddPictures& odd, PictureRoom* room = nullptr,
                                 const KnownPictures* known = nullptr, std::size_t position = 0);
// The same from the heads of files; `record` (or null) may spare reading those whose name beneath
// `root`, size and time it knows.
void look_at_heads(std::vector<ImageFile>& files, const std::string& root,
                   const SplitRecord* record, OddPictures& odd,
                   const KnownPictures* known = nullptr, std::size_t position = 0);

}  // namespace tapescope
