#include "tools/data/window.h"

#include <algorithm>
#include <cstring>

namespace tapescope {

Window::Window(const ImageView& image)
    : base_(image.pixels),
      base_width_(image.width),
      channels_(image.channels),
      height_(image.height),
      width_(image.width),
      valid_bottom_(image.height),
      valid_right_(image.width) {}

void Window::forget_outside() {
  valid_top_ = std::max(valid_top_, top_);
  valid_bottom_ = std::min(valid_bottom_, top_ + height_);
  valid_left_ = std::max(valid_left_, left_);
  valid_right_ = std::min(valid_right_, left_ + width_);
}

void Window::crop(int y, int x, int height, int width) {
  forget_outside();
  top_ += y;
  left_ += flipped_ ? width_ - x - width : x;
  height_ = height;
  width_ = width;
}

bool Window::inside() const {
  return top_ >= valid_top_ && top_ + height_ <= valid_bottom_ && left_ >= valid_left_ &&
         left_ + width_ <= valid_right_;
}

void Window::copy_row(int y, std::uint8_t* out) const {
  const auto bytes = [&](int pixels) { return static_cast<std::size_t>(pixels * channels_); };
  const int row_in_base = top_ + y;
  const int first = std::clamp(valid_left_ - left_, 0, width_);
  const int last = std::clamp(valid_right_ - left_, first, width_);
  if (row_in_base < valid_top_ || row_in_base >= valid_bottom_ || first == last) {
    std::memset(out, 0, bytes(width_));
    return;
  }
  const std::uint8_t* from = row(y);
  if (!flipped_) {
    std::memset(out, 0, bytes(first));
    std::memcpy(out + bytes(first), from + bytes(first), bytes(last - first));
    std::memset(out + bytes(last), 0, bytes(width_ - last));
    return;
  }
  std::memset(out, 0, bytes(width_ - last));
  std::memset(out + bytes(width_ - first), 0, bytes(first));
  std::uint8_t* to = out + bytes(width_ - last);
  if (channels_ == 1) {
    std::reverse_copy(from + first, from + last, to);
  } else {
    for (int x = last - 1; x >= first; --x, to += 3) std::memcpy(to, from + x * 3, 3);
  }
}

Image Window::image() {
  settle();
  Image image(height_, width_, channels_);
  for (int y = 0; y < height_; ++y) copy_row(y, image.at(y, 0));
  return image;
}

void Window::resize(int height, int width, Interpolation interpolation) {
  if (height == height_ && width == width_) return;
  settle();
  Resizing next{{},
                {height_, width_, channels_, nullptr, nullptr},
                std::ptrdiff_t{base_width_} * channels_,
                height,
                width,
                interpolation};
  if (inside() && !flipped_) {
    next.source.pixels = row(0);
  } else {
    next.copy = image();
    next.source = view_of(next.copy);
    next.stride = std::ptrdiff_t{width_} * channels_;
  }
  resizing_ = std::move(next);
  base_ = nullptr;
  base_width_ = width;
  top_ = left_ = valid_top_ = valid_left_ = 0;
  height_ = valid_bottom_ = height;
  width_ = valid_right_ = width;
  flipped_ = false;
}

void Window::settle() {
  if (!resizing_) return;
  forget_outside();
  if (valid_top_ < valid_bottom_ && valid_left_ < valid_right_) {
    const ImagePart part{valid_top_, valid_left_, valid_bottom_ - valid_top_,
                         valid_right_ - valid_left_};
    store_ = resized_image(resizing_->source, resizing_->stride, resizing_->height,
                           resizing_->width, resizing_->interpolation, part);
    top_ -= part.top;
    left_ -= part.left;
    valid_top_ = valid_left_ = 0;
    valid_bottom_ = part.height;
    valid_right_ = base_width_ = part.width;
    base_ = store_.pixels.data();
  }
  resizing_.reset();
}

}  // namespace tapescope
