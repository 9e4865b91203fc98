#include <CLI/CLI.hpp>
#include <chrono>
#include <thread>

#include "tools/cli/frame_sink.h"
#include "tools/cli/frame_source.h"
#include "tools/cli/localiser.h"
#include "tools/detection/detector.h"
#include "tools/detection/ring.h"

namespace tapescope::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  RunOptions run;
  std::vector<std::string> sources;
  detection::DetectOptions detect;
  FrameOutputs outputs;
  std::string target = "predicted";
  double share = 0.6;
};

double milliseconds(Clock::time_point from) {
  return std::chrono::duration<double, std::milli>(Clock::now() - from).count();
}

// Finds boxes in a picture and notes how long it took.
struct Finder {
  std::vector<std::string> classes;
  Exif exif;  // how its pictures are read
  std::function<std::vector<detection::Seen>(Frame& frame)> find;
};

Finder detector_of(const Options& options) {
  const auto detector =
      std::make_shared<detection::Detector>(options.run.detector(), options.run.backend());
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
  FrameSource source(options.sources);
  if (source.empty()) return 2;  // which was told
  if (!options.outputs.out.empty() && !source.has_stream()) source.expect_different_stems();
  const Finder finder = finder_of(options);
  const std::vector<std::string>& classes = finder.classes;
  FrameSink sink(options.outputs, classes, source);
  constexpr std::size_t kRoom = 4;
  detection::Ring<Frame> decoded(kRoom, options.outputs.live), found(kRoom, false);
  std::exception_ptr reading, writing;
  int status = 0;
  const Clock::time_point began = Clock::now();
  std::thread reader([&] {
    try {
      status = source.run([&](const std::string& path) { return read_image(path, 3, finder.exif); },
                          [&](Frame frame) { return decoded.push(std::move(frame)); });
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
      if (frame->error.empty()) frame->seen = finder.find(*frame);
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
  return status;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->run.add_to(app);
  app.add_option(
         "sources", options->sources,
         "pictures, folders of them, videos (whatever ffmpeg reads), or - for PPM or Y4M frames on "
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
  app.add_option("--out", options->outputs.out, "folder for drawn pictures and --format's files");
  app.add_flag("--no-pictures", options->outputs.no_pictures, "draw nothing into --out");
  app.add_option(
      "--format", options->outputs.formats,
      "coco (detections.json, with the names to its ids in detections_dataset.json), yolo "
      "(.txt files and classes.txt), voc (.xml files): also write these, comma-separated");
  app.add_option("--data", options->outputs.data,
                 "of --format coco: the COCO data that the pictures are of, whose ids are used");
  app.add_option(
      "--video", options->outputs.video,
      "write the drawn frames as this video, through ffmpeg, with the times they came with");
  app.add_flag("--live", options->outputs.live, "where frames come too fast, the newest wins");
  app.add_flag("--json", options->outputs.json,
               "print one JSON object a picture or frame, a line each");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kDetect = {"detect", "boxes around the objects in pictures and videos",
                            "tapescope detect --run runs/cells blood.jpg --out boxes", setup};

}  // namespace tapescope::cli
