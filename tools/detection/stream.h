// Frames of a stream: binary PPM or YUV4MPEG2.
#pragma once

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "tools/data/image.h"
#include "tools/detection/frame_rate.h"

namespace tapescope::detection {

// Reads frames of binary PPM (P6, 8 bits) or YUV4MPEG2 (4:2:0, 8 bits), seen from the first bytes.
class FrameReader {
 public:
  // `name` is what errors call it. The file is not closed.
  FrameReader(std::FILE* file, std::string name);
  // Nothing at the end of the stream. Throws a usage error where a frame is cut short, of another
  // size than the first, or of an unknown form; frames before it were good.
  std::optional<Image> next();
  // As YUV4MPEG2's header says, once a frame was read; without a value where nothing does.
  Ratio rate() const { return rate_; }      // frames per second
  Ratio aspect() const { return aspect_; }  // width of a pixel, in heights

 private:
  std::optional<Image> next_ppm();
  std::optional<Image> next_y4m();
  std::string line();
  std::vector<std::uint8_t> exactly(std::size_t bytes);
  void expect_size(int height, int width) const;
  std::FILE* file_;
  std::string name_;
  enum class Form { unknown, ppm, y4m } form_ = Form::unknown;
  int height_ = 0, width_ = 0;
  std::int64_t frame_ = 0;
  Ratio rate_, aspect_;
};

}  // namespace tapescope::detection
