// The IDX format of MNIST and its kin: a big-endian header, then unsigned bytes; .gz or plain.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tools/data/dataset.h"

namespace tapescope {

// extents: {N} for labels, {N, H, W} or {N, H, W, C} for pictures; bytes: their product.
struct IdxArray {
  std::vector<std::int64_t> extents;
  std::vector<std::uint8_t> bytes;
};

// Throws a usage error on a missing file, a wrong magic number, another element type than unsigned
// byte, a file shorter or longer than its header says, or a corrupt or cut-off .gz.
IdxArray read_idx(const std::filesystem::path& path);

class IdxDataset : public Dataset {
 public:
  // Throws a usage error where the two files' counts differ, a label is not below the number of
  // classes, or the pictures have neither 1 nor 3 channels. `classes` empty: "0", "1", ... up to
  // the largest label.
  IdxDataset(const std::filesystem::path& images, const std::filesystem::path& labels,
             std::vector<std::string> classes);
  std::int64_t size() const override { return images_.extents[0]; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::int64_t index) const override {
    return labels_.bytes[static_cast<std::size_t>(index)];
  }
  std::string name(std::int64_t index) const override;
  ImageView image(std::int64_t index) const override;
  int channels() const override { return channels_; }
  ImageSize image_size(std::int64_t) const override { return {height_, width_}; }
  PictureContent content(std::int64_t index) const override {
    return contents_[static_cast<std::size_t>(index)];
  }
  // CRC-32 of the labels: tells well-known sets apart.
  std::uint32_t label_checksum() const;
  void set_classes(std::vector<std::string> classes) { classes_ = std::move(classes); }

 private:
  std::string file_name_;
  IdxArray images_;
  IdxArray labels_;
  std::vector<std::string> classes_;
  std::vector<PictureContent> contents_;
  int height_ = 0;
  int width_ = 0;
  int channels_ = 1;
};

// The file `<split>-images-idx3-ubyte` or a usual variant of its name in `folder` (plain before
// .gz), or an empty path. `what` is "images" or "labels".
std::filesystem::path find_idx(const std::filesystem::path& folder, const std::string& split,
                               const std::string& what);

}  // namespace tapescope
