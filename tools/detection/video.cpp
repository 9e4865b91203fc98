#include "tools/detection/video.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "engine/error.h"
#include "tools/data/image_format.h"
#include "tools/detection/matroska.h"
#include "tools/files/text.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

constexpr Ratio kUsualRate = {25, 1};  // ffmpeg's, where nothing says another

std::string lower_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

template <std::size_t N>
bool is_among(const std::string& word, const std::array<const char*, N>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Without ffmpeg's marks: "[mov,mp4 @ 0x55d5] [error] moov atom not found".
std::string without_marks(std::string line) {
  while (line.starts_with('[')) {
    const std::size_t end = line.find("] ");
    if (end == std::string::npos) break;
    line.erase(0, end + 2);
  }
  return printable(line);
}

// A file's name for ffmpeg: "a:b.mp4" is no protocol and "-x.mp4" no option.
std::string named(const std::string& path) {
  return path.find("://") == std::string::npos ? "file:" + path : path;
}

// The option that leaves frames as they come was renamed in ffmpeg 5.1 (later the old name went).
const std::string& passthrough_option() {
  static const std::string option = [] {
    Pipe pipe({"ffmpeg", "-hide_banner", "-version"}, Pipe::Way::read, [](const std::string*) {});
    char line[256] = "";
    int major = 0, minor = 0;
    if (std::fgets(line, sizeof line, pipe.file()) == nullptr) return std::string("-fps_mode");
    const int read = std::sscanf(line, "ffmpeg version %*[n]%d.%d", &major, &minor);
    const int numbers =
        read >= 1 ? read : std::sscanf(line, "ffmpeg version %d.%d", &major, &minor);
    const bool old = numbers >= 1 && (major < 5 || (major == 5 && minor < 1));
    return std::string(old ? "-vsync" : "-fps_mode");
  }();
  return option;
}

// What the file's first bytes say.
bool is_picture(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::uint8_t> bytes(4096);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  const auto begins = [&](const char* with) {
    return bytes.size() >= std::strlen(with) &&
           std::memcmp(bytes.data(), with, std::strlen(with)) == 0;
  };
  if (bytes.empty()) return true;    // an empty one
  if (begins("GIF8")) return false;  // often an animation
  const ImageFormat format = sniff_image(bytes).format;
  if (format == ImageFormat::unknown) return false;
  // A format that is not read, told by boxes that videos have as well (.3gp), is asked about.
  return format != ImageFormat::known_but_not_read || has_image_extension(path);
}

// Whether a file whose format says no length ends as one that was written to its end: a transport
// stream with a whole packet, Ogg with a page that is marked as the last.
bool ends_whole(const fs::path& path, const std::string& format) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  if (format == "mpegts") return size % 188 == 0 || size % 192 == 0 || size % 204 == 0;
  if (format != "ogg") return true;
  constexpr std::uintmax_t kLongestPage = 27 + 255 + 255 * 255, kHead = 27;
  const std::uintmax_t from = size - std::min(size, 2 * kLongestPage);
  std::string end(static_cast<std::size_t>(size - from), '\0');
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(from));
  file.read(end.data(), static_cast<std::streamsize>(end.size()));
  const std::size_t page = end.rfind("OggS");
  if (page == std::string::npos || page + kHead > end.size()) return false;
  const auto segments = static_cast<std::size_t>(static_cast<unsigned char>(end[page + 26]));
  std::size_t length = kHead + segments;
  for (std::size_t i = 0; i < segments && page + kHead + i < end.size(); ++i) {
    length += static_cast<unsigned char>(end[page + kHead + i]);
  }
  return (end[page + 5] & 4) != 0 && page + length <= end.size();
}

double seconds_of(const std::string& text) {
  int hours = 0, minutes = 0;
  double seconds = 0;
  if (std::sscanf(text.c_str(), "%d:%d:%lf", &hours, &minutes, &seconds) == 3) {
    return 3600.0 * hours + 60.0 * minutes + seconds;
  }
  seconds = std::atof(text.c_str());
  return std::isfinite(seconds) && seconds > 0 ? seconds : 0;
}

struct Probed {
  VideoInfo info;
  Ratio average;
  std::string format, complaint;
  bool has_video = false;
};

Probed ask_ffprobe(const fs::path& path) {
  Probed probed;
  Pipe pipe({"ffprobe", "-v", "error", "-select_streams", "V:0", "-show_entries",
             "stream=codec_type,r_frame_rate,avg_frame_rate,duration,nb_frames:"
             "stream_tags=DURATION:format=format_name",
             "-of", "default", named(path.string())},
            Pipe::Way::read, [&probed](const std::string* line) {
              if (line != nullptr && probed.complaint.empty()) {
                probed.complaint = without_marks(*line);
              }
            });
  char line[1024];
  while (std::fgets(line, sizeof line, pipe.file()) != nullptr) {
    const std::string text(line, std::strcspn(line, "\r\n"));
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) continue;
    const std::string key = text.substr(0, equals), value = text.substr(equals + 1);
    if (key == "codec_type") probed.has_video = value == "video";
    if (key == "r_frame_rate") probed.info.rate = parsed_ratio(value);
    if (key == "avg_frame_rate") probed.average = parsed_ratio(value);
    if (key == "nb_frames") probed.info.frames = std::atoll(value.c_str());
    if (key == "duration" || key == "TAG:DURATION") {
      probed.info.seconds = std::max(probed.info.seconds, seconds_of(value));
    }
    if (key == "format_name") probed.format = value;
  }
  if (pipe.finish() != 0) probed.has_video = false;
  return probed;
}

// showinfo tells each frame's time where ffmpeg's own errors come too. Frames are upright by then:
// ffmpeg turns them as the file says. Behind it they are counted, since equal times, and times
// closer than the rate, would be errors of the output.
std::vector<std::string> decoder_of(const std::string& path) {
  std::vector<std::string> words = {"ffmpeg", "-hide_banner", "-nostats", "-nostdin"};
  for (const char* word : {"-loglevel", "repeat+level+info", "-i"}) words.emplace_back(word);
  words.push_back(named(path));
  for (const char* word :
       {"-map", "0:V:0", "-vf", "showinfo,settb=1/1000,setpts=N", "-enc_time_base", "1:1000"}) {
    words.emplace_back(word);
  }
  words.push_back(passthrough_option());
  for (const char* word :
       {"passthrough", "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"}) {
    words.emplace_back(word);
  }
  return words;
}

// Pictures and texts, which ffmpeg makes videos of too, and lists of other files or addresses.
bool is_no_video_format(const std::string& format) {
  static constexpr std::array<const char*, 13> kNone = {
      "image2", "tty",  "bin", "xbin", "adf",   "idf",       "concat",
      "hls",    "dash", "sdp", "rtsp", "lavfi", "ffmetadata"};
  return is_among(format, kNone) || format.ends_with("_pipe");
}

}  // namespace

std::optional<VideoInfo> probe_video(const fs::path& path) {
  static constexpr std::array<const char*, 20> kVideos = {
      ".mp4", ".m4v", ".mov",  ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".mpg", ".mpeg",
      ".ts",  ".mts", ".m2ts", ".vob", ".flv", ".wmv", ".asf",  ".ogv", ".gif", ".mxf"};
  std::error_code error;
  if (!fs::is_regular_file(path, error) || is_picture(path)) return std::nullopt;
  Probed probed;
  try {
    probed = ask_ffprobe(path);
  } catch (const Error& missing) {
    if (has_image_extension(path)) return std::nullopt;
    throw usage_error("'{}' is not a picture, and whether it is a video cannot be asked: {}",
                      printable(path.string()), missing.what());
  }
  if (probed.has_video && !is_no_video_format(probed.format)) {
    VideoInfo& info = probed.info;
    info.constant = info.rate.has_value() && probed.average == info.rate;
    if (!info.rate.has_value()) info.rate = kUsualRate;
    info.whole = ends_whole(path, probed.format);
    // This index counts what was meant to be written; the length is measured on what is there.
    if (probed.format == "avi" && info.frames > 0) {
      info.seconds = std::max(info.seconds, static_cast<double>(info.frames) / info.rate.value());
    }
    return info;
  }
  if (is_among(lower_extension(path), kVideos)) {
    throw usage_error("'{}' cannot be read as a video: {}; copy or record it again",
                      printable(path.string()),
                      probed.complaint.empty() ? "ffprobe finds no moving pictures in it"
                                               : "ffprobe says: " + probed.complaint);
  }
  return std::nullopt;
}

VideoReader::VideoReader(const std::string& path, const VideoInfo& info)
    : path_(path),
      info_(info),
      pipe_(decoder_of(path), Pipe::Way::read, [this](const std::string* line) { hear(line); }),
      reader_(pipe_.file(), path) {}

void VideoReader::hear(const std::string* line) {
  const std::lock_guard lock(mutex_);
  if (line == nullptr) {
    heard_all_ = true;
    changed_.notify_all();
    return;
  }
  const auto behind = [line](const char* key) {
    const std::size_t at = line->find(key);
    return at == std::string::npos ? std::string() : line->substr(at + std::strlen(key));
  };
  if (line->find("Parsed_showinfo") != std::string::npos) {
    if (const std::string base = behind("config in time_base: "); !base.empty()) {
      time_base_ = parsed_ratio(base);
    }
    if (line->find(" pts_time:") == std::string::npos) return;
    FrameTime time;
    const std::string stamp = behind(" pts:");
    char* end = nullptr;
    const long long pts = std::strtoll(stamp.c_str(), &end, 10);
    time.seconds =
        end != stamp.c_str() && time_base_.has_value()
            ? static_cast<double>(pts * time_base_.num) / static_cast<double>(time_base_.den)
            : std::nan("");
    time.aspect = parsed_ratio(behind(" sar:"));
    times_.push_back(time);
    changed_.notify_all();
    return;
  }
  const auto says = [line](const char* what) { return line->find(what) != std::string::npos; };
  if (complaint_.empty() && (says("[error]") || says("[fatal]") || says("[panic]") ||
                             (says("[warning]") && says("orrupt")))) {
    complaint_ = without_marks(*line);
  }
}

std::optional<Image> VideoReader::next(FrameTime& time) {
  std::optional<Image> image = reader_.next();
  const double interval = 1 / info_.rate.value();
  if (image) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return heard_all_ || !times_.empty(); });
    time = {};
    if (!times_.empty()) {
      time = times_.front();
      times_.pop_front();
    }
    if (std::isnan(time.seconds)) time.seconds = frames_ == 0 ? 0 : last_ + interval;
    if (frames_ == 0) first_ = time.seconds;
    last_ = std::max(last_, time.seconds);
    ++frames_;
    return image;
  }
  const int status = pipe_.finish();
  const std::string name = printable(path_);
  if (frames_ == 0) {
    throw usage_error("'{}' has no frames that can be read{}", name,
                      complaint_.empty() ? "" : "; ffmpeg says: " + complaint_);
  }
  if (!complaint_.empty() || status != 0) {
    throw usage_error(
        "'{}' is cut off or damaged; ffmpeg says: {}; the {} frames that could be read are kept",
        name, complaint_.empty() ? fmt::format("status {}", status) : complaint_, frames_);
  }
  if (!info_.whole) {
    throw usage_error("'{}' is cut off: it has no end; the {} frames that could be read are kept",
                      name, frames_);
  }
  // A single long last frame, or frames that an edit leaves out, make a file seem short too: the
  // one has all its frames, the other its length.
  const double length = last_ - first_ + interval;
  const bool fewer = info_.frames > 0 ? frames_ < info_.frames : info_.constant;
  if (fewer && length + 2 * interval + 0.1 < info_.seconds) {
    throw usage_error(
        "'{}' is cut off: it promises {:.2f} s and ends after {:.2f} s; the {} frames that could "
        "be read are kept",
        name, info_.seconds, length, frames_);
  }
  return std::nullopt;
}

VideoWriter::VideoWriter(std::string path, Ratio rate, Ratio aspect)
    : path_(std::move(path)), rate_(rate), aspect_(aspect) {}

VideoWriter::~VideoWriter() = default;

void VideoWriter::start(const Image& first) {
  // MPEG-1 and -2 know eight rates; at others frames are repeated.
  static constexpr std::array<const char*, 5> kMpeg = {".mpg", ".mpeg", ".vob", ".m1v", ".m2v"};
  static constexpr Ratio kRates[] = {{24000, 1001}, {24, 1}, {25, 1},       {30000, 1001},
                                     {30, 1},       {50, 1}, {60000, 1001}, {60, 1}};
  std::vector<std::string> words = {"ffmpeg", "-v", "error", "-y"};
  const auto add = [&words](std::initializer_list<std::string> more) {
    words.insert(words.end(), more);
  };
  if (rate_.has_value()) {
    add({"-f", "image2pipe", "-framerate", fmt::format("{}/{}", rate_.num, rate_.den), "-c:v",
         "ppm", "-i", "-"});
  } else {
    // A pipe of pictures has no times; these formats can keep them to 1/60000 s, the others to what
    // ffmpeg takes for the rate.
    static constexpr std::array<const char*, 8> kTimed = {".mp4", ".m4v", ".mov",  ".3gp",
                                                          ".3g2", ".mkv", ".webm", ".nut"};
    add({"-f", "matroska", "-i", "-"});
    if (!is_among(lower_extension(path_), kMpeg)) add({passthrough_option(), "passthrough"});
    if (is_among(lower_extension(path_), kTimed)) add({"-enc_time_base", "1:60000"});
  }
  if (is_among(lower_extension(path_), kMpeg) &&
      std::find(std::begin(kRates), std::end(kRates), rate_) == std::end(kRates)) {
    add({"-r", "30"});
  }
  add({"-pix_fmt", "yuv420p", "-vf",
       fmt::format("pad=ceil(iw/2)*2:ceil(ih/2)*2,setsar=r={}:max=65535",
                   aspect_.has_value() ? fmt::format("{}/{}", aspect_.num, aspect_.den) : "1"),
       named(path_)});
  pipe_ =
      std::make_unique<Pipe>(std::move(words), Pipe::Way::write, [this](const std::string* line) {
        if (line != nullptr && complaint_.empty()) {
          complaint_ = without_marks(*line);
        }
      });
  height_ = first.height;
  width_ = first.width;
  if (rate_.has_value()) return;
  const std::string header = matroska_header(first.height, first.width);
  std::fwrite(header.data(), 1, header.size(), pipe_->file());
}

void VideoWriter::write(const Image& image, double seconds) {
  if (!pipe_) start(image);
  if (!rate_.has_value() && (image.height != height_ || image.width != width_)) {
    throw usage_error(
        "'{}' begins with frames of {}x{}, and this one is {}x{}; give each video a "
        "--video of its own",
        printable(path_), width_, height_, image.width, image.height);
  }
  const std::string head = rate_.has_value()
                               ? fmt::format("P6\n{} {}\n255\n", image.width, image.height)
                               : matroska_frame(image, std::max(0.0, seconds));
  std::FILE* file = pipe_->file();
  if (std::fwrite(head.data(), 1, head.size(), file) != head.size() ||
      std::fwrite(image.pixels.data(), 1, image.pixels.size(), file) != image.pixels.size()) {
    finish();
    throw failure("'{}' takes no more frames", printable(path_));
  }
}

void VideoWriter::finish() {
  if (!pipe_ || pipe_->finish() == 0) return;
  throw failure("'{}' could not be written; ffmpeg says: {}", printable(path_),
                complaint_.empty() ? "nothing" : complaint_);
}

}  // namespace tapescope::detection
