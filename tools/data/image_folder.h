// A list of picture files as a data set, with decoded pictures kept in memory.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tools/data/dataset.h"

namespace tapescope {

struct ImageFile {
  std::string path;
  std::int64_t label = 0;
};

// Decoded pictures stay in memory until `budget` bytes are used, which several data sets share.
struct CacheBudget {
  explicit CacheBudget(std::int64_t bytes) : left(bytes) {}
  std::atomic<std::int64_t> left;
};

class ImageFiles : public Dataset {
 public:
  ImageFiles(std::vector<ImageFile> files, std::vector<std::string> classes, int channels,
             std::shared_ptr<CacheBudget> budget, Exif exif);
  ~ImageFiles() override;
  std::int64_t size() const override { return static_cast<std::int64_t>(files_.size()); }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::int64_t index) const override { return file(index).label; }
  std::string name(std::int64_t index) const override { return file(index).path; }
  ImageView image(std::int64_t index) const override;
  int channels() const override { return channels_; }

 private:
  const ImageFile& file(std::int64_t index) const {
    return files_[static_cast<std::size_t>(index)];
  }
  std::vector<ImageFile> files_;
  std::vector<std::string> classes_;
  int channels_;
  std::shared_ptr<CacheBudget> budget_;
  Exif exif_;
  // Set once, by whichever thread decoded the picture first; freed by the destructor.
  mutable std::vector<std::atomic<const Image*>> cache_;
};

// What is found below one split's folder.
struct FolderScan {
  std::vector<std::string> classes;             // sorted names of the class folders
  std::vector<std::vector<std::string>> files;  // by class, sorted by path
  std::int64_t other_files = 0;                 // without a picture's extension
  std::vector<std::string> other_examples;      // the first few of them
  std::int64_t loose_images = 0;                // pictures that lie beside the class folders
};
// Hidden entries are ignored; a class folder is searched with all its subfolders.
FolderScan scan_classes(const std::filesystem::path& folder);

// Pictures that are stored in another orientation than they are meant to be seen in.
struct TurnedPictures {
  std::int64_t count = 0;
  std::string first;  // by name
  void add(const std::string& name);
  // What was done with them, for the terminal; empty where there are none.
  std::string sentence(Exif exif) const;
};

// Reads every file: structure only under `fail`, which throws for the first broken one in order;
// decoding each under `skip`, which returns the indices of broken ones and what is wrong.
struct BadFile {
  std::size_t index = 0;
  std::string what;
};
// `turned` receives the pictures whose orientation is noted and not upright.
std::vector<BadFile> check_files(const std::vector<ImageFile>& files, BadImage on_bad_image,
                                 TurnedPictures* turned = nullptr);

}  // namespace tapescope
