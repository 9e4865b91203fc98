#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "tools/cli/localiser.h"
#include "tools/detection/detector.h"
#include "tools/detection/stream.h"
#include "tools/files/atomic_file.h"
#include "tools/report/png.h"

namespace tapescope::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using nlohmann::ordered_json;

struct Options {
  RunOptions run;
  std::vector<std::string> sources;
  detection::DetectOptions detect;
  std::string out, formats, video, target = "predicted";
  double share = 0.6;
  bool json = false, live = false, no_pictures = false;
};

double milliseconds(Clock::time_point from) {
  return std::chrono::duration<double, std::milli>(Clock::now() - from).count();
}

// A picture on its way through: decoded, looked at, drawn and written by three threads.
struct Frame {
  std::int64_t number = 0;
  std::string name;
  Image image;
  std::vector<detection::Seen> seen;
  double decode = 0, draw = 0;
  detection::DetectTimes times;
};

bool is_video(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* known : {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".gif"}) {
    if (extension == known) return true;
  }
  return false;
}

// Every picture that the sources name, one after the other, into `push`, which says whether to go
// on.
class Source {
 public:
  explicit Source(const std::vector<std::string>& sources) {
    for (const std::string& source : sources) {
      if (source == "-" || is_video(source)) {
        if (source != "-" && !fs::exists(source)) throw usage_error("'{}' does not exist", source);
        entries_.push_back({source, true});
      } else if (fs::is_directory(source)) {
        std::vector<std::string> files, others;
        for (const auto& entry : fs::recursive_directory_iterator(source)) {
          if (!entry.is_regular_file()) continue;
          (has_image_extension(entry.path()) ? files : others).push_back(entry.path().string());
        }
        std::sort(files.begin(), files.end());
        if (files.empty()) throw usage_error("'{}' holds no pictures", source);
        if (!others.empty()) {
          fmt::print(stderr, "{} files in '{}' are no pictures and were passed over (one is {})\n",
                     others.size(), source, *std::min_element(others.begin(), others.end()));
        }
        for (const std::string& file : files) entries_.push_back({file, false});
      } else {
        entries_.push_back({source, false});
      }
    }
  }
  bool has_stream() const {
    return std::any_of(entries_.begin(), entries_.end(), [](const Entry& e) { return e.stream; });
  }
  // Two pictures of one name would be written to the same files.
  void expect_different_stems() const {
    std::map<std::string, std::string> by_stem;
    for (const Entry& entry : entries_) {
      const std::string stem = fs::path(entry.name).stem().string();
      const auto [other, is_new] = by_stem.emplace(stem, entry.name);
      if (is_new) continue;
      throw usage_error(
          "--out would hold '{}' and '{}' as '{}'; give them to two runs with an --out of their "
          "own",
          other->second, entry.name, stem);
    }
  }
  // What cannot be read is told and does not keep the rest from being looked at.
  template <class Push>
  void run(Exif exif, Push&& push) {
    std::int64_t number = 0;
    for (const Entry& entry : entries_) {
      try {
        if (entry.stream ? !stream(entry.name, number, push)
                         : !picture(entry.name, exif, number, push)) {
          return;
        }
      } catch (const Error& error) {
        if (error.blame() != Blame::usage) throw;
        if (entries_.size() > 1) fmt::print(stderr, "{}\n", error.what());
        errors_.push_back(error.what());
      }
    }
    if (errors_.empty()) return;
    if (entries_.size() == 1) throw Error(Blame::usage, errors_[0]);
    throw usage_error("{} of {} sources could not be read to their end; the first: {}",
                      errors_.size(), entries_.size(), errors_[0]);
  }

 private:
  struct Entry {
    std::string name;
    bool stream = false;
  };
  template <class Push>
  static bool picture(const std::string& name, Exif exif, std::int64_t& number, Push& push) {
    const Clock::time_point began = Clock::now();
    Frame frame;
    frame.image = read_image(name, 3, exif);
    frame.decode = milliseconds(began);
    frame.name = name;
    frame.number = number++;
    return push(std::move(frame));
  }
  template <class Push>
  static bool stream(const std::string& name, std::int64_t& number, Push& push) {
    std::optional<detection::Pipe> pipe;
    if (name != "-") {
      pipe.emplace(std::vector<std::string>{"ffmpeg", "-v", "error", "-i", name, "-f", "image2pipe",
                                            "-c:v", "ppm", "-"},
                   detection::Pipe::Way::read);
    }
    const std::string called = name == "-" ? "standard input" : name;
    detection::FrameReader reader(pipe ? pipe->file() : stdin, called);
    for (std::int64_t n = 0;; ++n) {
      const Clock::time_point began = Clock::now();
      std::optional<Image> image = reader.next();
      if (!image) {
        if (const int status = pipe ? pipe->finish() : 0; status != 0) {
          throw usage_error("'{}' ends after {} frames: ffmpeg stopped with status {}", called, n,
                            status);
        }
        if (n == 0) throw usage_error("'{}' has no frames", called);
        return true;
      }
      Frame frame;
      frame.image = std::move(*image);
      frame.decode = milliseconds(began);
      frame.name = fmt::format("{}#{}", called, n);
      frame.number = number++;
      if (!push(std::move(frame))) return false;
    }
  }
  std::vector<Entry> entries_;
  std::vector<std::string> errors_;
};

// Takes finished frames in order: drawn pictures, a video, lines, files for other tools.
class Sink {
 public:
  Sink(const Options& options, const std::vector<std::string>& classes, bool streamed)
      : options_(options), classes_(classes), streamed_(streamed) {
    for (const std::string& format : comma_separated(options.formats)) {
      if (format.empty()) continue;
      if (format != "coco" && format != "yolo" && format != "voc") {
        throw usage_error("--format '{}' is unknown; known are coco, yolo and voc", format);
      }
      formats_.push_back(format);
    }
    if (!formats_.empty() && options.out.empty()) throw usage_error("--format needs --out DIR");
    if (!options.out.empty()) make_output_folder(options.out);
  }

  bool draws() const {
    return !options_.video.empty() || (!options_.out.empty() && !options_.no_pictures);
  }

  void take(Frame& frame) {
    const Clock::time_point began = Clock::now();
    if (draws()) {
      Image drawn = frame.image;
      detection::draw_boxes(drawn, frame.seen, classes_);
      if (!options_.video.empty()) {
        open_video();
        detection::write_ppm(video_->file(), drawn, options_.video);
      } else {
        write_png(fs::path(options_.out) / (stem(frame) + ".png"), drawn);
      }
    }
    frame.draw = milliseconds(began);
    const detection::SeenImage seen{frame.name, frame.image.height, frame.image.width, frame.seen};
    for (const std::string& format : formats_) {
      const fs::path base = fs::path(options_.out) / stem(frame);
      if (format == "yolo") write_atomically(base.string() + ".txt", detection::to_yolo_text(seen));
      if (format == "voc") {
        write_atomically(base.string() + ".xml", detection::to_voc_xml(seen, classes_));
      }
    }
    if (options_.json) {
      print_json(frame);
    } else if (!streamed_) {
      print_text(frame);
    }
    if (std::find(formats_.begin(), formats_.end(), "coco") != formats_.end()) all_.push_back(seen);
    ++frames_;
    boxes_ += static_cast<std::int64_t>(frame.seen.size());
    decode_ += frame.decode;
    resize_ += frame.times.resize;
    forward_ += frame.times.forward;
    decoding_ += frame.times.boxes;
    draw_ += frame.draw;
  }

  void finish(double seconds, std::int64_t dropped) {
    if (std::find(formats_.begin(), formats_.end(), "coco") != formats_.end()) {
      write_atomically(fs::path(options_.out) / "detections.json", detection::to_coco_json(all_));
    }
    if (std::find(formats_.begin(), formats_.end(), "yolo") != formats_.end()) {
      write_atomically(fs::path(options_.out) / "classes.txt",
                       fmt::format("{}\n", fmt::join(classes_, "\n")));
    }
    if (video_ && video_->finish() != 0) {
      throw failure("ffmpeg could not write '{}'", options_.video);
    }
    const auto n = static_cast<double>(std::max<std::int64_t>(1, frames_));
    fmt::print(
        stderr,
        "{} pictures, {} boxes{}; ms a picture: decode {:.2f}, resize {:.2f}, forward {:.2f}, "
        "boxes {:.2f}, draw {:.2f}; {:.1f} pictures/s\n",
        frames_, boxes_, dropped > 0 ? fmt::format(", {} frames passed over", dropped) : "",
        decode_ / n, resize_ / n, forward_ / n, decoding_ / n, draw_ / n,
        static_cast<double>(frames_) / seconds);
  }

 private:
  std::string stem(const Frame& frame) const {
    return streamed_ ? fmt::format("{:06}", frame.number) : fs::path(frame.name).stem().string();
  }
  void open_video() {
    if (video_) return;
    video_.emplace(std::vector<std::string>{"ffmpeg", "-v", "error", "-y", "-f", "image2pipe",
                                            "-c:v", "ppm", "-i", "-", "-pix_fmt", "yuv420p", "-vf",
                                            "pad=ceil(iw/2)*2:ceil(ih/2)*2", options_.video},
                   detection::Pipe::Way::write);
  }
  void print_json(const Frame& frame) const {
    ordered_json boxes = ordered_json::array();
    for (const detection::Seen& s : frame.seen) {
      boxes.push_back({{"class", classes_[static_cast<std::size_t>(s.category)]},
                       {"probability", s.score},
                       {"box", {s.box.x, s.box.y, s.box.w, s.box.h}}});
    }
    fmt::print("{}\n", ordered_json{{"image", frame.name},
                                    {"frame", frame.number},
                                    {"boxes", boxes},
                                    {"milliseconds",
                                     {{"decode", frame.decode},
                                      {"resize", frame.times.resize},
                                      {"forward", frame.times.forward},
                                      {"boxes", frame.times.boxes}}}}
                           .dump());
  }
  void print_text(const Frame& frame) const {
    fmt::print("{}\n", frame.name);
    for (std::size_t i = 0; i < frame.seen.size(); ++i) {
      const detection::Seen& s = frame.seen[i];
      fmt::print("  {:>3}  {:>6.2f} %  {}  at {:.0f}, {:.0f}, {:.0f} x {:.0f}\n", i, 100 * s.score,
                 classes_[static_cast<std::size_t>(s.category)], s.box.x, s.box.y, s.box.w,
                 s.box.h);
    }
  }

  const Options& options_;
  const std::vector<std::string>& classes_;
  bool streamed_;
  std::vector<std::string> formats_;
  std::vector<detection::SeenImage> all_;
  std::optional<detection::Pipe> video_;
  std::int64_t frames_ = 0, boxes_ = 0;
  double decode_ = 0, resize_ = 0, forward_ = 0, decoding_ = 0, draw_ = 0;
};

// Finds boxes in a picture and notes how long it took.
struct Finder {
  std::vector<std::string> classes;
  Exif exif;  // how its pictures are read
  std::function<std::vector<detection::Seen>(Frame& frame)> find;
};

Finder detector_of(const Options& options) {
  const auto detector = std::make_shared<detection::Detector>(
      detection::load_detector(options.run.run, options.run.checkpoint), options.run.backend());
  return {detector->config().classes, detector->config().exif, [detector, &options](Frame& frame) {
            return detector->detect(frame.image, options.detect, &frame.times);
          }};
}

// A classifier's answer and where its class map is large: one box a picture.
Finder localiser_of(const Options& options) {
  const auto localiser = std::make_shared<Localiser>(options.run, options.share, options.target);
  return {localiser->classes(), localiser->exif(), [localiser, &options](Frame& frame) {
            const Localiser::Answer answer = localiser->find(frame.image, frame.name, &frame.times);
            const auto probability = static_cast<float>(answer.probability);
            std::vector<detection::Seen> seen;
            if (answer.box.area() > 0 && probability >= options.detect.threshold) {
              seen.push_back({answer.box, answer.category, probability});
            }
            return seen;
          }};
}

Finder finder_of(const Options& options) {
  return detection::is_detector(options.run.run, options.run.checkpoint) ? detector_of(options)
                                                                         : localiser_of(options);
}

int run(const Options& options) {
  options.run.apply();
  Source source(options.sources);
  if (!options.out.empty() && !source.has_stream()) source.expect_different_stems();
  const Finder finder = finder_of(options);
  const std::vector<std::string>& classes = finder.classes;
  Sink sink(options, classes, source.has_stream());
  constexpr std::size_t kRoom = 4;
  detection::Ring<Frame> decoded(kRoom, options.live), found(kRoom, false);
  std::exception_ptr reading, writing;
  const Clock::time_point began = Clock::now();
  std::thread reader([&] {
    try {
      source.run(finder.exif, [&](Frame frame) { return decoded.push(std::move(frame)); });
    } catch (...) {
      reading = std::current_exception();
    }
    decoded.close();
  });
  std::thread writer([&] {
    try {
      while (std::optional<Frame> frame = found.pop()) sink.take(*frame);
    } catch (...) {
      writing = std::current_exception();
    }
    found.close();
    decoded.close();
  });
  std::exception_ptr looking;
  try {
    while (std::optional<Frame> frame = decoded.pop()) {
      frame->seen = finder.find(*frame);
      if (!found.push(std::move(*frame))) break;
    }
  } catch (...) {
    looking = std::current_exception();
  }
  decoded.close();
  found.close();
  reader.join();
  writer.join();
  const double seconds = milliseconds(began) / 1e3;
  if (!writing)
    sink.finish(seconds, decoded.dropped());  // what was good is kept, whatever came then
  for (const std::exception_ptr& error : {looking, reading, writing}) {
    if (error) std::rethrow_exception(error);
  }
  return 0;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->run.add_to(app);
  app.add_option(
         "sources", options->sources,
         "pictures, folders of them, videos (through ffmpeg), or - for PPM or Y4M frames on "
         "standard input")
      ->required()
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--threshold", options->detect.threshold, "least probability of a box")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--most", options->detect.most, "boxes a picture")
      ->capture_default_str()
      ->check(CLI::Range(1, 10000));
  app.add_option("--nms", options->detect.nms,
                 "also suppress boxes of one class above this IoU; 0: peaks alone decide")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--target", options->target,
                 "of a classifier's run: predicted, or the class to look for, whatever the answer")
      ->capture_default_str();
  app.add_option(
         "--share", options->share,
         "of a classifier's run: how large its class map is inside the box, of its largest value")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--out", options->out, "folder for drawn pictures and --format's files");
  app.add_flag("--no-pictures", options->no_pictures, "draw nothing into --out");
  app.add_option("--format", options->formats,
                 "coco (detections.json), yolo (.txt files and classes.txt), voc (.xml files): "
                 "also write these, comma-separated");
  app.add_option("--video", options->video, "write the drawn frames as this video, through ffmpeg");
  app.add_flag("--live", options->live, "where frames come too fast, the newest wins");
  app.add_flag("--json", options->json, "print one JSON object a picture");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kDetect = {"detect", "boxes around the objects in pictures and videos",
                            "tapescope detect --run runs/cells blood.jpg --out boxes", setup};

}  // namespace tapescope::cli
