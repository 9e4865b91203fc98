// Pictures that are read otherwise than their owner may expect: counted, and told in a line a kind.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "tools/data/image.h"

namespace tapescope {

class CountedPictures {
 public:
  explicit CountedPictures(std::string what) : what_(std::move(what)) {}
  void add(const std::string& name) {
    if (count_++ == 0 || name < first_) first_ = name;
  }
  std::int64_t count() const { return count_; }
  // "3 pictures have ... (the first: a.png)"; for the terminal.
  std::string sentence() const;

 private:
  std::string what_, first_;  // `first_`: by name
  std::int64_t count_ = 0;
};

class OddPictures {
 public:
  // `exif`: what is done with an orientation.
  explicit OddPictures(Exif exif);
  // Whether samples have 16 bits, of which the upper byte is read; the header is enough.
  static bool has_16_bits(std::span<const std::uint8_t> bytes);
  // A whole file and what it is decoded to; may be called from several threads.
  void look_at(std::span<const std::uint8_t> bytes, const Image& image, const std::string& name);
  // The beginning of one: whether it is turned.
  void look_at_head(std::span<const std::uint8_t> bytes, const std::string& name);
  // The same of one that was looked at before.
  void count(bool turned, const std::string& name);
  // Stored in another orientation than they are meant to be seen in.
  const CountedPictures& turned() const { return turned_; }
  // 16 bits a sample of which 12 or fewer are used, as cameras and microscopes write them: of their
  // upper bytes, which are read, little is left.
  const CountedPictures& dark() const { return dark_; }
  // Of those that there are.
  std::vector<std::string> sentences() const;

  const Exif exif;

 private:
  std::mutex mutex_;
  CountedPictures turned_, dark_;
};

}  // namespace tapescope
