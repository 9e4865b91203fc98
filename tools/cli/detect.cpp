#include <chrono>
#include <thread>

#include "tools/cli/cli.h"
#include "tools/detection/frame_sink.h"
#include "tools/detection/ring.h"
#include "tools/tasks/kit.h"

namespace tapescope::cli {
namespace {

using Clock = std::chrono::steady_clock;
using detection::Frame;
using detection::FrameSink;

struct DetectArguments {
  RunOptions run;
  std::vector<std::string> sources;
  tasks::Finding finding;
  detection::FrameOutputs outputs;
};

double milliseconds(Clock::time_point from) {
  return std::chrono::duration<double, std::milli>(Clock::now() - from).count();
}

int run(const DetectArguments& options) {
  options.run.apply();
  detection::FrameSource source(options.sources);
  if (source.empty()) return 2;  // which was told
  if (!options.outputs.out.empty()) source.expect_different_stems();
  tell_dark(source.pictures());
  const auto run = tasks::open_run(options.run);
  const tasks::Finder find = run->finder(options.finding, options.run.backend());
  const Exif exif = run->preprocess().exif;
  FrameSink sink(options.outputs, run->classes(), source);
  constexpr std::size_t kRoom = 4;
  detection::Ring<Frame> decoded(kRoom, options.outputs.live), found(kRoom, false);
  std::exception_ptr reading, writing;
  int status = 0;
  const Clock::time_point began = Clock::now();
  std::thread reader([&] {
    try {
      status = source.run([&](const std::string& path) { return read_image(path, 3, exif); },
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
      if (frame->error.empty()) find(*frame);
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

std::function<int()> setup_detect(CommandLine& line) {
  auto options = std::make_shared<DetectArguments>();
  options->run.add_with_model(line);
  options->run.add_precision(line);
  options->run.add_allow_outside(line);
  line.option("sources", options->sources,
              "pictures, folders of them, videos (whatever ffmpeg reads), or - for PPM or Y4M "
              "frames on "
              "standard input")
      .required()
      .many();
  line.option("--threshold", options->finding.threshold, "least probability of a box")
      .show_default()
      .range(0.0, 1.0);
  line.option("--most", options->finding.most, "boxes per picture").show_default().range(1, 10000);
  line.option("--nms", options->finding.nms,
              "suppress boxes of one class above this IoU; 0: as the net is meant (of a "
              "centre-detector peaks alone decide)")
      .show_default()
      .range(0.0, 1.0);
  line.option("--target", options->finding.target,
              "of a classifier's run: predicted, or the class to look for, whatever the answer")
      .show_default();
  line.option(
          "--share", options->finding.share,
          "of a classifier's run: how large its class map is inside the box, of its largest value")
      .show_default()
      .range(0.0, 1.0);
  line.option("--out", options->outputs.out, "folder for drawn pictures and --format's files");
  line.flag("--no-pictures", options->outputs.no_pictures, "draw nothing into --out");
  line.option("--format", options->outputs.formats,
              "coco (detections.json, with the names to its ids in detections_dataset.json), yolo "
              "(.txt files and classes.txt), voc (.xml files): also write these, comma-separated");
  line.option("--data", options->outputs.data,
              "of --format coco: the COCO data that the pictures are of, whose ids are used");
  line.option(
      "--video", options->outputs.video,
      "write the drawn frames as this video, through ffmpeg, with the times they came with");
  line.flag("--live", options->outputs.live, "where frames come too fast, the newest wins");
  line.flag("--json", options->outputs.json,
            "print one JSON object a picture or frame, a line each");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kDetect = {"detect", "boxes around the objects in pictures and videos",
                            "tapescope detect --run runs/cells blood.jpg --out boxes",
                            setup_detect};

}  // namespace tapescope::cli
