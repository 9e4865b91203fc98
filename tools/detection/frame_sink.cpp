#include "tools/detection/frame_sink.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tools/detection/coco_results.h"
#include "tools/files/atomic_file.h"
#include "tools/files/folders.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/report/png.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using nlohmann::ordered_json;

std::string classes_text(const std::vector<std::string>& classes) {
  std::string text;
  for (const std::string& name : classes) text += printable(name) + "\n";
  return text;
}

// Whether an earlier call may have written this: YOLO's lines and VOC's objects have scores then.
bool is_result(const fs::path& path, const std::vector<std::string>& classes) {
  if (path.extension() == ".json") return true;
  std::ifstream file(path, std::ios::binary);
  std::string text(1 << 16, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (path.filename() == "classes.txt") return text == classes_text(classes);
  if (path.extension() == ".xml") {
    return text.find("<object") == std::string::npos || text.find("<score") != std::string::npos;
  }
  std::istringstream words(text.substr(0, text.find('\n')));
  const auto count = std::distance(std::istream_iterator<std::string>(words), {});
  return count == 0 || count == 6;
}

}  // namespace

FrameSink::FrameSink(const FrameOutputs& outputs, const std::vector<std::string>& classes,
                     const FrameSource& source)
    : outputs_(outputs),
      classes_(classes),
      streamed_(source.has_stream()),
      rate_(outputs.live && streamed_ ? Ratio{} : source.rate()) {
  for (const std::string& format : comma_separated(outputs.formats)) {
    if (format.empty()) continue;
    if (format != "coco" && format != "yolo" && format != "voc") {
      throw usage_error("--format '{}' is unknown; known are coco, yolo and voc", format);
    }
    formats_.push_back(format);
  }
  if (!formats_.empty() && outputs.out.empty()) throw usage_error("--format needs --out DIR");
  if (formats_.empty() && !outputs.out.empty() && !outputs.video.empty()) {
    throw usage_error(
        "--video takes the drawn frames, and nothing is left for --out '{}'; leave it away, or "
        "give "
        "--format",
        printable(outputs.out));
  }
  if (!outputs.data.empty()) {
    if (!writes("coco")) throw usage_error("--data gives ids to --format coco, which is not asked");
    if (streamed_) {
      throw usage_error("--data: frames of a video have no ids in it; leave --data away");
    }
    ids_ = CocoIds(outputs.data, classes);
    for (const std::string& picture : source.pictures()) ids_.image(picture);
  }
  expect_apart(source);
  if (!outputs.out.empty()) make_output_folder(outputs.out);
}

void FrameSink::expect_apart(const FrameSource& source) const {
  InputFiles inputs;
  source.add_to(inputs);
  if (!outputs_.data.empty()) inputs.add(outputs_.data);
  if (!outputs_.video.empty()) {
    inputs.expect_apart("--video", outputs_.video);
    // ffmpeg also writes to addresses.
    if (outputs_.video.find("://") == std::string::npos) expect_writable("--video", outputs_.video);
  }
  if (outputs_.out.empty()) return;
  expect_writable_folder("--out", outputs_.out);
  std::set<std::string> stems;
  for (const std::string& picture : source.pictures())
    stems.insert(fs::path(picture).stem().string());
  const auto ours = [&](const std::string& name, const char* ending) {
    return name.ends_with(ending) &&
           ((streamed_ && is_frame_name(name)) || stems.contains(fs::path(name).stem().string()));
  };
  const auto annotation = [&](const std::string& name) {
    return (writes("yolo") && (ours(name, ".txt") || name == "classes.txt")) ||
           (writes("voc") && ours(name, ".xml")) ||
           (writes("coco") && (name == "detections.json" || name == "detections_dataset.json"));
  };
  inputs.expect_apart("--out", outputs_.out, [&](const std::string& name) {
    return annotation(name) || (draws() && outputs_.video.empty() && ours(name, ".png"));
  });
  // Annotations drawn by hand have such names too, and nothing makes them again.
  std::error_code error;
  for (fs::directory_iterator it(outputs_.out, error), end; !error && it != end;
       it.increment(error)) {
    if (!annotation(it->path().filename().string()) || is_result(it->path(), classes_)) continue;
    throw usage_error(
        "--format would write over '{}', annotations that `detect` did not write; nothing was "
        "written: choose another --out",
        printable(it->path().string()));
  }
}

bool FrameSink::writes(const std::string& format) const {
  return std::find(formats_.begin(), formats_.end(), format) != formats_.end();
}

bool FrameSink::draws() const {
  return !outputs_.video.empty() || (!outputs_.out.empty() && !outputs_.no_pictures);
}

void FrameSink::take(Frame& frame) {
  if (!frame.error.empty()) {
    if (!outputs_.json) return;
    fmt::print("{}\n", json_text(ordered_json{{"image", frame.name},
                                              {"boxes", ordered_json::array()},
                                              {"error", frame.error}}));
    return;
  }
  const Clock::time_point began = Clock::now();
  if (draws()) {
    Image drawn = frame.image;
    draw_boxes(drawn, frame.seen, classes_);
    if (!outputs_.video.empty()) {
      if (!video_) open_video(frame);
      video_->write(drawn, frame.video_time);
    } else {
      write_png(fs::path(outputs_.out) / (stem(frame) + ".png"), drawn);
    }
  }
  frame.draw = std::chrono::duration<double, std::milli>(Clock::now() - began).count();
  const SeenImage seen{frame.name, frame.image.height, frame.image.width, frame.seen};
  const fs::path base = fs::path(outputs_.out) / stem(frame);
  if (writes("yolo")) write_atomically(base.string() + ".txt", to_yolo_text(seen));
  if (writes("voc")) {
    write_atomically(base.string() + ".xml", to_voc_xml(seen, classes_));
  }
  if (outputs_.json) {
    print_json(frame);
  } else if (!frame.of_stream) {
    print_text(frame);
  }
  if (writes("coco")) all_.push_back(seen);
  ++frames_;
  boxes_ += static_cast<std::int64_t>(frame.seen.size());
  decode_ += frame.decode;
  resize_ += frame.times.resize;
  forward_ += frame.times.forward;
  decoding_ += frame.times.boxes;
  draw_ += frame.draw;
}

void FrameSink::finish(double seconds, std::int64_t dropped) {
  if (writes("coco")) {
    write_atomically(fs::path(outputs_.out) / "detections.json", to_coco_results(all_, ids_));
    write_atomically(fs::path(outputs_.out) / "detections_dataset.json",
                     to_coco_dataset(all_, classes_, ids_));
  }
  if (writes("yolo")) {
    write_atomically(fs::path(outputs_.out) / "classes.txt", classes_text(classes_));
  }
  if (video_) {
    video_->finish();
    fmt::print(stderr, "{}: {} frame{}\n", printable(outputs_.video), frames_, plural(frames_));
  }
  const auto n = static_cast<double>(std::max<std::int64_t>(1, frames_));
  fmt::print(
      stderr,
      "{} picture{}, {} box{}{}; ms per picture: decode {:.2f}, resize {:.2f}, forward {:.2f}, "
      "boxes {:.2f}, draw {:.2f}; {:.1f} pictures/s\n",
      frames_, plural(frames_), boxes_, boxes_ == 1 ? "" : "es",
      dropped > 0 ? fmt::format(", {} frames passed over", dropped) : "", decode_ / n, resize_ / n,
      forward_ / n, decoding_ / n, draw_ / n, static_cast<double>(frames_) / seconds);
}

std::string FrameSink::stem(const Frame& frame) const {
  return frame.of_stream ? fmt::format("{:06}", frame.number)
                         : fs::path(frame.name).stem().string();
}

void FrameSink::open_video(const Frame& first) {
  // A stream on standard input says its rate in its header, or does not say it.
  const bool piped = first.name.starts_with("standard input#");
  const Ratio rate = piped && first.rate.has_value() && rate_.has_value() ? first.rate : rate_;
  video_.emplace(outputs_.video, rate, first.aspect);
}

void FrameSink::print_json(const Frame& frame) const {
  ordered_json boxes = ordered_json::array();
  for (const Seen& s : frame.seen) {
    boxes.push_back({{"class", classes_[static_cast<std::size_t>(s.category)]},
                     {"probability", s.score},
                     {"box", {s.box.x, s.box.y, s.box.w, s.box.h}}});
  }
  ordered_json line = {{"image", frame.name}, {"frame", frame.number}};
  if (frame.time) line["time"] = *frame.time;
  line["boxes"] = boxes;
  line["milliseconds"] = {{"decode", frame.decode},
                          {"resize", frame.times.resize},
                          {"forward", frame.times.forward},
                          {"boxes", frame.times.boxes}};
  fmt::print("{}\n", json_text(line));
}

void FrameSink::print_text(const Frame& frame) const {
  fmt::print("{}\n", printable(frame.name));
  for (std::size_t i = 0; i < frame.seen.size(); ++i) {
    const Seen& s = frame.seen[i];
    fmt::print("  {:>3}  {:>6.2f} %  {}  at {:.0f}, {:.0f}, {:.0f} x {:.0f}\n", i, 100 * s.score,
               printable(classes_[static_cast<std::size_t>(s.category)]), s.box.x, s.box.y, s.box.w,
               s.box.h);
  }
}

}  // namespace tapescope::detection
