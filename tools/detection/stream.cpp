#include "tools/detection/stream.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <vector>

#include "engine/error.h"

extern char** environ;

namespace tapescope::detection {
namespace {

constexpr int kLargest = 1 << 15;  // pixels of a side

std::uint8_t byte_of(double v) {
  return static_cast<std::uint8_t>(std::clamp(v + 0.5, 0.0, 255.0));
}

}  // namespace

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

// In growing pieces: a header alone must not decide how much memory is asked for.
std::vector<std::uint8_t> FrameReader::exactly(std::size_t bytes) {
  std::vector<std::uint8_t> all;
  std::size_t got = 0;
  while (got < bytes) {
    const std::size_t piece = std::min(bytes - got, std::max<std::size_t>(got, 1 << 24));
    all.resize(got + piece);
    const std::size_t n = std::fread(all.data() + got, 1, piece, file_);
    got += n;
    if (n < piece) {
      throw usage_error(
          "'{}' ends in the middle of frame {}: {} of {} bytes; the frames before are whole", name_,
          frame_, got, bytes);
    }
  }
  return all;
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
      if (width_ < 1 || height_ < 1 || width_ > kLargest || height_ > kLargest) {
        throw usage_error("'{}' says its frames are {}x{}", name_, width_, height_);
      }
      check_pixels(height_, width_, name_);
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
  if (width < 1 || height < 1 || width > kLargest || height > kLargest || most != 255) {
    throw usage_error("'{}': frame {} is {}x{} with values to {}; 8-bit frames (255) are read",
                      name_, frame_, width, height, most);
  }
  check_pixels(height, width, name_);
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
  image.pixels = exactly(static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * 3);
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

void write_ppm(std::FILE* file, const Image& image, const std::string& name) {
  const std::string header = fmt::format("P6\n{} {}\n255\n", image.width, image.height);
  if (std::fwrite(header.data(), 1, header.size(), file) != header.size() ||
      std::fwrite(image.pixels.data(), 1, image.pixels.size(), file) != image.pixels.size()) {
    throw failure("'{}' takes no more frames: {}", name, std::strerror(errno));
  }
}

Pipe::Pipe(std::vector<std::string> words, Way way) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away is an error of write, not a death
  int ends[2];
  if (::pipe(ends) != 0) throw failure("no pipe for '{}': {}", words[0], std::strerror(errno));
  const int theirs = way == Way::read ? ends[1] : ends[0],
            ours = way == Way::read ? ends[0] : ends[1];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, theirs, way == Way::read ? 1 : 0);
  if (way == Way::read) posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const int error =
      ::posix_spawnp(&pid_, words[0].c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(theirs);
  if (error != 0) {
    ::close(ours);
    pid_ = -1;
    throw usage_error("'{}' cannot be started: {}; is it installed?", words[0],
                      std::strerror(error));
  }
  file_ = ::fdopen(ours, way == Way::read ? "rb" : "wb");
}

int Pipe::finish() {
  if (file_ != nullptr) std::fclose(file_);
  file_ = nullptr;
  if (pid_ < 0) return 0;
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

Pipe::~Pipe() { finish(); }

}  // namespace tapescope::detection
