// What `detect` makes of its frames: drawn pictures, a video, lines, files for other tools.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/detection/coco_ids.h"
#include "tools/detection/frame_source.h"

namespace tapescope::detection {

struct FrameOutputs {
  std::string out, formats, video, data;
  bool json = false, live = false, no_pictures = false;
};

// Takes finished frames in order.
class FrameSink {
 public:
  // Throws a usage error, before anything is written, where an output would write over what is
  // read, or annotations that another program or a person made.
  FrameSink(const FrameOutputs& outputs, const std::vector<std::string>& classes,
            const FrameSource& source);
  void take(Frame& frame);
  void finish(double seconds, std::int64_t dropped);

 private:
  void expect_apart(const FrameSource& source) const;
  bool writes(const std::string& format) const;
  bool draws() const;
  std::string stem(const Frame& frame) const;
  void open_video(const Frame& first);
  void print_json(const Frame& frame) const;
  void print_text(const Frame& frame) const;

  const FrameOutputs& outputs_;
  const std::vector<std::string>& classes_;
  bool streamed_;
  Ratio rate_;
  std::vector<std::string> formats_;
  std::vector<SeenImage> all_;
  CocoIds ids_;
  std::optional<VideoWriter> video_;
  std::int64_t frames_ = 0, boxes_ = 0;
  double decode_ = 0, resize_ = 0, forward_ = 0, decoding_ = 0, draw_ = 0;
};

}  // namespace tapescope::detection
