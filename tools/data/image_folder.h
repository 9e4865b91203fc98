// A list of picture files as a data set, with decoded pictures kept in memory.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/data/dataset.h"
#include "tools/data/odd_pictures.h"
#include "tools/data/picture_cache.h"

namespace tapescope {

struct ImageFile {
  std::string path;
  std::int64_t label = 0;
  // Set by check_files.
  PictureContent content = {};
  ImageSize size = {};  // 0 x 0: not known
  // The whole file, where it was read and not yet decoded. Its room is given back with it.
  std::vector<std::uint8_t> bytes = {};
};

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

// What is found below one split's folder.
struct FolderScan {
  std::vector<std::string> classes;             // sorted names of the class folders, printable()
  std::vector<std::vector<std::string>> files;  // by class, sorted by path
  std::int64_t other_files = 0;                 // without a picture's extension
  std::vector<std::string> other_examples;      // the first few of them
  std::int64_t loose_images = 0;                // pictures that lie beside the class folders
  std::int64_t no_files = 0;                    // pipes and devices named like pictures
  std::string no_file_example;
  std::int64_t links = 0;  // pictures that are links
};
// Hidden entries are ignored; a class folder is searched with all its subfolders. Nothing is
// opened.
FolderScan scan_classes(const std::filesystem::path& folder);

// Reads every file and fills in what it is known by: looks at the structure only under `fail`,
// which throws for the first broken one in order, and decodes each under `skip`, which returns the
// indices of broken ones and what is wrong. Up to a quarter of `room` keeps what was read, so that
// it need not be read again.
struct BadFile {
  std::size_t index = 0;
  std::string what;
};
std::vector<BadFile> check_files(std::vector<ImageFile>& files, BadImage on_bad_image,
                                 OddPictures& odd, PictureRoom* room = nullptr);
// The same from the heads of files; `known` (or null) may spare reading those whose name beneath
// `root`, size and time it knows.
void look_at_heads(std::vector<ImageFile>& files, const std::string& root, const SplitRecord* known,
                   OddPictures& odd);
// `path` beneath `root`, "train/cat/7.jpg"; `path` itself where it lies elsewhere.
std::string name_beneath(const std::string& path, const std::string& root);

}  // namespace tapescope
