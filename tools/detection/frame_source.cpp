#include "tools/detection/frame_source.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>

#include "tools/files/text.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr Ratio kPictureRate = {25, 1};  // shown as a video

double milliseconds(Clock::time_point from) {
  return std::chrono::duration<double, std::milli>(Clock::now() - from).count();
}

}  // namespace

FrameSource::FrameSource(const std::vector<std::string>& sources) {
  for (const std::string& source : sources) {
    std::error_code error;
    if (source == "-" || !fs::is_directory(source, error)) {
      Entry entry{source, {}};
      ++named_;
      const bool refused =
          source != "-" && bad_.skipped([&] { entry.video = probe_video(source); });
      if (!refused) entries_.push_back(entry);
      continue;
    }
    for (const std::string& file : picture_files({source})) {
      entries_.push_back({file, {}});
      ++named_;
    }
  }
}

bool FrameSource::has_stream() const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [](const Entry& entry) { return entry.is_stream(); });
}

std::vector<std::string> FrameSource::pictures() const {
  std::vector<std::string> names;
  for (const Entry& entry : entries_) {
    if (!entry.is_stream()) names.push_back(entry.name);
  }
  return names;
}

Ratio FrameSource::rate() const {
  Ratio all = kPictureRate;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const std::optional<VideoInfo>& video = entries_[i].video;
    if (video && !video->constant) return {};
    const Ratio own = video ? video->rate : kPictureRate;
    if (i > 0 && own != all) return {};
    all = own;
  }
  return all;
}

void FrameSource::add_to(InputFiles& inputs) const {
  for (const Entry& entry : entries_) {
    if (entry.name == "-") {
      inputs.add_open(STDIN_FILENO);
    } else {
      inputs.add(entry.name);
    }
  }
}

bool is_frame_name(const std::string& name) {
  const std::string stem = fs::path(name).stem().string();
  return stem.size() >= 6 && stem.find_first_not_of("0123456789") == std::string::npos;
}

void FrameSource::expect_different_stems() const {
  std::map<std::string, std::string> by_stem;
  const bool numbered = has_stream();
  for (const Entry& entry : entries_) {
    if (entry.is_stream()) continue;
    const std::string stem = fs::path(entry.name).stem().string();
    if (numbered && is_frame_name(stem)) {
      throw usage_error("'{}' is called as a frame of a video is; look at it without the video",
                        printable(entry.name));
    }
    const auto [other, is_new] = by_stem.emplace(stem, entry.name);
    if (is_new) continue;
    throw usage_error(
        "--out would hold '{}' and '{}' as '{}'; give them to two runs with an --out of their own",
        printable(other->second), printable(entry.name), printable(stem));
  }
}

int FrameSource::run(const Read& read, const Push& push) {
  for (const Entry& entry : entries_) {
    bool goes_on = true;
    const bool failed = bad_.skipped(
        [&] { goes_on = entry.is_stream() ? stream(entry, push) : picture(entry, read, push); });
    if (failed && !entry.is_stream()) {
      Frame frame;
      frame.name = entry.name;
      frame.error = bad_.last();
      goes_on = push(std::move(frame));
    }
    if (!goes_on) break;
  }
  return bad_.status(named_);
}

bool FrameSource::picture(const Entry& entry, const Read& read, const Push& push) {
  const Clock::time_point began = Clock::now();
  Frame frame;
  frame.image = read(entry.name);
  frame.decode = milliseconds(began);
  frame.name = entry.name;
  frame.number = number_++;
  frame.video_time = began_;
  began_ += 1 / kPictureRate.value();
  return push(std::move(frame));
}

bool FrameSource::stream(const Entry& entry, const Push& push) {
  const std::string called = entry.video ? entry.name : "standard input";
  std::optional<VideoReader> video;
  std::optional<FrameReader> frames;
  entry.video ? void(video.emplace(entry.name, *entry.video)) : void(frames.emplace(stdin, called));
  double last = 0, interval = 1 / kPictureRate.value();
  for (std::int64_t n = 0;; ++n) {
    const Clock::time_point began = Clock::now();
    FrameTime time;
    std::optional<Image> image = video ? video->next(time) : frames->next();
    if (!image) {
      if (n == 0) throw usage_error("'{}' has no frames", printable(called));
      began_ += last + interval;
      return true;
    }
    Frame frame;
    frame.rate = video ? entry.video->rate : frames->rate();
    frame.aspect = video ? time.aspect : frames->aspect();
    if (frame.rate.has_value()) {
      interval = 1 / frame.rate.value();
      frame.time =
          video ? time.seconds
                : static_cast<double>(n * frame.rate.den) / static_cast<double>(frame.rate.num);
    }
    last = frame.time.value_or(static_cast<double>(n) * interval);
    frame.video_time = began_ + last;
    frame.image = std::move(*image);
    frame.decode = milliseconds(began);
    frame.name = fmt::format("{}#{}", called, n);
    frame.of_stream = true;
    frame.number = number_++;
    if (!push(std::move(frame))) return false;
  }
}

}  // namespace tapescope::detection
