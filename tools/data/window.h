// The picture while a pipeline runs: what crops, flips and resizing see of it, without its pixels
// being moved before they must be.
#pragma once

#include <optional>

#include "tools/data/image.h"
#include "tools/data/resize.h"

namespace tapescope {

class Window {
 public:
  // The whole picture, whose memory is somebody else's.
  explicit Window(const ImageView& image);

  int height() const { return height_; }
  int width() const { return width_; }
  int channels() const { return channels_; }
  bool flipped() const { return flipped_; }

  // To rows [y, y + height) and columns [x, x + width) of what is seen; these may reach outside,
  // where black is seen.
  void crop(int y, int x, int height, int width);
  // Left becomes right.
  void flip() { flipped_ = !flipped_; }
  // What is seen, at another size: computed when it must be, so that of a picture that is cropped
  // afterwards no more is resized than is looked at.
  void resize(int height, int width, Interpolation interpolation);

  // Has resizing done. What follows reads pixels and wants that.
  void settle();
  // Whether no black is seen.
  bool inside() const;
  bool is_whole_width() const { return width_ == base_width_; }
  // Row y from the first column on, of what is inside and not flipped.
  const std::uint8_t* row(int y) const {
    return base_ + (std::ptrdiff_t{top_ + y} * base_width_ + left_) * channels_;
  }
  // Row y as it is seen. out: u8 {width, channels}
  void copy_row(int y, std::uint8_t* out) const;
  // What is seen, resized if it has to be.
  Image image();

 private:
  struct Resizing {
    Image copy;  // of what could not be read where it was
    ImageView source;
    std::ptrdiff_t stride;  // bytes of a row
    int height, width;
    Interpolation interpolation;
  };

  // What lies outside of the window is black from here on.
  void forget_outside();

  const std::uint8_t* base_;  // u8 {.., base_width, channels}; while `resizing_`, its result
  int base_width_, channels_;
  int top_ = 0, left_ = 0, height_, width_;  // of the window in the base
  // Base coordinates, ends excluded: black outside.
  int valid_top_ = 0, valid_bottom_, valid_left_ = 0, valid_right_;
  bool flipped_ = false;  // read from right to left
  std::optional<Resizing> resizing_;
  Image store_;  // the base, once something was resized
};

}  // namespace tapescope
