// What `detect` looks at, one picture after the other.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tools/data/picture_files.h"
#include "tools/detection/detector.h"
#include "tools/detection/video.h"
#include "tools/files/input_files.h"

namespace tapescope::detection {

// A picture on its way through: decoded, looked at, drawn and written by three threads.
struct Frame {
  std::int64_t number = 0;
  std::string name;
  bool of_stream = false;  // a video's or standard input's
  Image image;
  std::string error;  // why there is no picture: the file cannot be read
  std::vector<Seen> seen;
  double decode = 0, draw = 0;  // milliseconds
  DetectTimes times;
  std::optional<double> time;  // seconds from its video's beginning, where that says
  double video_time = 0;       // the same from the first source's beginning
  Ratio rate, aspect;          // of its stream, where that says
};

// As a stream's frames are called: 000012.png.
bool is_frame_name(const std::string& name);

class FrameSource {
 public:
  // Pictures, folders of them, videos, and "-" for a stream on standard input.
  explicit FrameSource(const std::vector<std::string>& sources);
  bool empty() const { return entries_.empty(); }  // none of them can be opened
  bool has_stream() const;
  // Of pictures, in the order of run().
  std::vector<std::string> pictures() const;
  // Frames per second of a video made of all; without a value where they do not come evenly.
  Ratio rate() const;
  void add_to(InputFiles& inputs) const;
  // Two pictures of one name, or one that is called as a stream's frame, would be written to the
  // same files: a usage error.
  void expect_different_stems() const;
  // Every picture, read from its file by `read`, into `push`, which says whether to go on. What
  // cannot be read is told, and does not keep the rest from being looked at. The exit status.
  using Read = std::function<Image(const std::string& path)>;
  using Push = std::function<bool(Frame)>;
  int run(const Read& read, const Push& push);

 private:
  struct Entry {
    std::string name;
    std::optional<VideoInfo> video;
    bool is_stream() const { return name == "-" || video; }
  };
  bool picture(const Entry& entry, const Read& read, const Push& push);
  bool stream(const Entry& entry, const Push& push);
  std::vector<Entry> entries_;
  std::size_t named_ = 0;  // entries, and videos that cannot be opened
  BadPictures bad_;
  std::int64_t number_ = 0;
  double began_ = 0;  // of the source that is read, in the video made of all
};

}  // namespace tapescope::detection
