// Videos through ffmpeg, with the times of their frames.
#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "tools/detection/frame_rate.h"
#include "tools/detection/pipe.h"
#include "tools/detection/stream.h"

namespace tapescope::detection {

// What ffprobe says of a file's first video stream.
struct VideoInfo {
  Ratio rate;               // frames per second, where they come evenly
  bool constant = false;    // they do
  bool whole = true;        // it has its end, as far as its format shows one
  double seconds = 0;       // that the file promises; 0: it does not say
  std::int64_t frames = 0;  // likewise
};

// Whether `path` is a video: not a picture by its first bytes, and ffprobe finds moving pictures in
// it, whatever it is called. Nothing for a picture and for what is neither. Throws a usage error
// for a video that ffprobe cannot open, and where ffprobe is needed and not installed.
std::optional<VideoInfo> probe_video(const std::filesystem::path& path);

// Where a frame stands in its video, and how it is to be shown.
struct FrameTime {
  double seconds = 0;
  Ratio aspect;  // width of a pixel, in heights
};

// The frames that the file holds, none filled in or left out, 8 bits per channel and upright.
class VideoReader {
 public:
  VideoReader(const std::string& path, const VideoInfo& info);
  // Nothing at the end. Throws a usage error where the file is cut off or damaged; frames before
  // were good.
  std::optional<Image> next(FrameTime& time);

 private:
  void hear(const std::string* line);  // of ffmpeg
  std::string path_;
  VideoInfo info_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<FrameTime> times_;  // of frames that are on their way
  bool heard_all_ = false;
  Ratio time_base_;
  std::string complaint_;  // the first error
  std::int64_t frames_ = 0;
  double first_ = 0, last_ = 0;
  Pipe pipe_;  // last: its thread calls hear()
  FrameReader reader_;
};

// Frames into a file of any form that ffmpeg knows from its name.
class VideoWriter {
 public:
  // `rate` frames per second, or, where it has no value, each at its own time. `aspect` may have no
  // value: square pixels.
  VideoWriter(std::string path, Ratio rate, Ratio aspect);
  ~VideoWriter();
  // Times grow from frame to frame. Throws a failure where ffmpeg takes no more, and a usage error
  // for a frame of another size where each has its own time.
  void write(const Image& image, double seconds);
  void finish();  // throws a failure where the file could not be written

 private:
  void start(const Image& first);
  std::string path_;
  Ratio rate_, aspect_;
  int height_ = 0, width_ = 0;  // of the first frame
  std::string complaint_;       // written by the pipe's thread, read after finish()
  std::unique_ptr<Pipe> pipe_;
};

}  // namespace tapescope::detection
