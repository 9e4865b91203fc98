#include "tools/detection/stream.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/error.h"

namespace tapescope::detection {
namespace {

std::uint8_t byte_of(double v) {
  return static_cast<std::uint8_t>(std::clamp(v + 0.5, 0.0, 255.0));
}

}  // namespace

Ratio parsed_ratio(const std::string& text) {
  long long num = 0, den = 0;
  if (std::sscanf(text.c_str(), "%lld%*[/:]%lld", &num, &den) != 2 || num < 0 || den < 0) return {};
  return {num, den};
}

FrameReader::FrameReader(std::FILE* file, std::string name) : file_(file), name_(std::move(name)) {}

std::string FrameReader::line() {
  std::string text;
  for (int c; (c = std::getc(file_)) != EOF && c != '\n';) {
    text += static_cast<char>(c);
    if (text.size() > 256) {
      throw usage_error("'{}': frame {} has no header that can be understood", name_, frame_);
    }
  }
  return text;
}

std::vector<std::uint8_t> FrameReader::exactly(std::size_t bytes) {
  // The first frame's header may promise what never comes: memory grows with what is read.
  const std::size_t step = frame_ == 0 ? std::size_t{1} << 16 : bytes;
  std::vector<std::uint8_t> data;
  while (data.size() < bytes) {
    const std::size_t had = data.size();
    data.resize(std::min(bytes, had + std::max(step, had)));
    const std::size_t got = std::fread(data.data() + had, 1, data.size() - had, file_);
    if (got == data.size() - had) continue;
    throw usage_error(
        "'{}' ends in the middle of frame {}: {} of {} bytes; the frames before are whole", name_,
        frame_, had + got, bytes);
  }
  return data;
}

void FrameReader::expect_size(int height, int width) const {
  if (height > 0 && width > 0 && std::int64_t{height} * width <= kMostPixels) return;
  throw usage_error("'{}' says that frame {} is {}x{}; up to {} million pixels are read", name_,
                    frame_, width, height, kMostPixels / 1'000'000);
}

std::optional<Image> FrameReader::next() {
  if (form_ == Form::unknown) {
    const int first = std::getc(file_);
    if (first == EOF) return std::nullopt;
    std::ungetc(first, file_);
    if (first == 'P') {
      form_ = Form::ppm;
    } else if (first == 'Y') {
      form_ = Form::y4m;
      const std::string header = line();
      if (!header.starts_with("YUV4MPEG2 ")) {
        throw usage_error("'{}' is neither binary PPM nor YUV4MPEG2", name_);
      }
      for (std::size_t at = header.find(' '); at != std::string::npos;
           at = header.find(' ', at + 1)) {
        const std::string word = header.substr(at + 1, header.find(' ', at + 1) - at - 1);
        if (word.starts_with('W')) width_ = std::atoi(word.c_str() + 1);
        if (word.starts_with('H')) height_ = std::atoi(word.c_str() + 1);
        if (word.starts_with('F')) rate_ = parsed_ratio(word.substr(1));
        if (word.starts_with('A')) aspect_ = parsed_ratio(word.substr(1));
        if (word.starts_with('C') && !word.starts_with("C420")) {
          throw usage_error(
              "'{}' has colours {}; only 4:2:0 with 8 bits is read: ffmpeg -pix_fmt "
              "yuv420p",
              name_, word.substr(1));
        }
        if (word.starts_with("C420p1")) {
          throw usage_error("'{}' has more than 8 bits; ffmpeg -pix_fmt yuv420p", name_);
        }
      }
      expect_size(height_, width_);
    } else {
      throw usage_error(
          "'{}' is neither binary PPM nor YUV4MPEG2: for other videos ffmpeg -i VIDEO "
          "-f image2pipe -c:v ppm - | tapescope detect ... -",
          name_);
    }
  }
  std::optional<Image> frame = form_ == Form::ppm ? next_ppm() : next_y4m();
  if (frame) ++frame_;
  return frame;
}

std::optional<Image> FrameReader::next_ppm() {
  int c = std::getc(file_);
  if (c == EOF) return std::nullopt;
  if (c != 'P' || std::getc(file_) != '6') {
    throw usage_error("'{}': frame {} does not begin with P6", name_, frame_);
  }
  int numbers[3] = {0, 0, 0};
  for (int& number : numbers) {
    // Blanks and comments before, one blank behind.
    for (c = std::getc(file_); c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '#';
         c = std::getc(file_)) {
      if (c == '#') line();
    }
    for (; c >= '0' && c <= '9'; c = std::getc(file_))
      number = std::min(number * 10 + (c - '0'), 1 << 20);
  }
  const auto [width, height, most] = numbers;
  expect_size(height, width);
  if (most != 255) {
    throw usage_error("'{}': frame {} has values to {}; 8-bit frames (255) are read", name_, frame_,
                      most);
  }
  if (frame_ == 0) {
    width_ = width;
    height_ = height;
  }
  if (width != width_ || height != height_) {
    throw usage_error("'{}': frame {} is {}x{}, the first was {}x{}; scale them to one size", name_,
                      frame_, width, height, width_, height_);
  }
  Image image;
  image.height = height;
  image.width = width;
  image.pixels = exactly(3 * static_cast<std::size_t>(height) * static_cast<std::size_t>(width));
  return image;
}

std::optional<Image> FrameReader::next_y4m() {
  const int first = std::getc(file_);
  if (first == EOF) return std::nullopt;
  std::ungetc(first, file_);
  if (const std::string header = line(); !header.starts_with("FRAME")) {
    throw usage_error("'{}': frame {} does not begin with FRAME", name_, frame_);
  }
  const int cw = (width_ + 1) / 2, ch = (height_ + 1) / 2;
  const auto luma = static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_);
  const auto chroma = static_cast<std::size_t>(cw) * static_cast<std::size_t>(ch);
  const std::vector<std::uint8_t> planes = exactly(luma + 2 * chroma);
  Image image(height_, width_, 3);
  for (int y = 0; y < height_; ++y) {
    for (int x = 0; x < width_; ++x) {
      // ITU-R BT.601, limited range.
      const std::size_t at = static_cast<std::size_t>(y / 2) * static_cast<std::size_t>(cw) +
                             static_cast<std::size_t>(x / 2);
      const double l =
          1.164383 * (planes[static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) +
                             static_cast<std::size_t>(x)] -
                      16);
      const double u = planes[luma + at] - 128.0, v = planes[luma + chroma + at] - 128.0;
      std::uint8_t* pixel = image.at(y, x);
      pixel[0] = byte_of(l + 1.596027 * v);
      pixel[1] = byte_of(l - 0.391762 * u - 0.812968 * v);
      pixel[2] = byte_of(l + 2.017232 * u);
    }
  }
  return image;
}

}  // namespace tapescope::detection
