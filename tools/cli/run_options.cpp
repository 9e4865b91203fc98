#include <fmt/format.h>

#include <algorithm>
#include <climits>

#include "engine/thread_pool.h"
#include "tools/cli/cli.h"
#include "tools/training/config.h"
#include "tools/training/kernel_file.h"

namespace tapescope::cli {
namespace {
constexpr const char* kGroup = "Of an ONNX file, where it does not say them itself";
}

void RunOptions::add_to(CommandLine& line, bool required) {
  Option option = line.option("--run", run, "run directory of `tapescope train`");
  if (required) option.required();
  line.option("--checkpoint", checkpoint, "best, last, initial or a file").show_default();
  line.option("--device", device, "auto (a GPU where there is one), cpu, cuda or emulated")
      .show_default();
  line.option(
      "--kernel", kernel,
      "FAMILY=VARIANT[,...]: kernels by name, see `tapescope kernels`; measured: those that "
      "the training measured; FILE.json: another one");
  line.option("--threads", threads, "threads of the engine; 0: one per processor");
  line.flag("--allow-non-finite", allow_non_finite,
            "take a model although it holds NaN or infinite values");
}

void RunOptions::add_with_model(CommandLine& line) {
  add_to(line, false);
  named = true;
  line.option("--model", run, "an ONNX file (.onnx) instead of a run");
  add_onnx(line);
}

void RunOptions::add_onnx(CommandLine& line) {
  line.option("--image-size", onnx.image_size, "height and width of its pictures")
      .range(0, 1 << 16)
      .group(kGroup);
  line.option("--image-width", onnx.image_width, "width, where it is not --image-size")
      .range(0, 1 << 16)
      .group(kGroup);
  line.option("--resize", onnx.resize,
              "shorter side of a picture before its middle is cut out; 0: --image-size")
      .range(0, 1 << 16)
      .group(kGroup);
  line.option("--mean", onnx.mean, "subtracted from pixels from 0 to 1: 0.485,0.456,0.406")
      .group(kGroup);
  line.option("--std", onnx.std, "what they are divided by: 0.229,0.224,0.225").group(kGroup);
  line.option("--class-names", onnx.class_names, "file with a class name per line").group(kGroup);
  add_onnx_end(line);
}

void RunOptions::add_onnx_end(CommandLine& line) {
  line.option("--outputs", onnx.outputs, "values at which the graph is cut, with commas")
      .group(kGroup);
  line.option("--head", onnx.head,
              "of a detector, where the shape of its answers does not say it: yolov8 (and 9, 11, "
              "12), yolov5, yolox, yolo26 (and v10), or raw: as yolov8, scores before a Sigmoid")
      .group(kGroup);
}

void RunOptions::add_precision(CommandLine& line) {
  line.option("--precision", precision,
              "f32, or tf32 (of a GPU) or bf16: what convolutions and matrix products are computed "
              "in, and how far from f32 that is")
      .show_default();
}

void RunOptions::add_allow_outside(CommandLine& line) {
  line.flag("--allow-outside", allow_outside, kAllowOutsideHelp);
}

void RunOptions::apply() const {
  if (named && run.empty()) {
    throw usage_error("neither --run RUN nor --model FILE.onnx is given: one of them is required");
  }
  if (threads != 0) set_thread_count(static_cast<int>(std::clamp<long>(threads, -1, INT_MAX)));
}

Backend RunOptions::backend() const {
  const Device where = device_from_name(device);
  return {where, kernels_of_run(kernel, run, where), precision_from_name(precision)};
}

int print(const tasks::Answer& answer, bool json) {
  fmt::print("{}", json ? answer.json + "\n" : answer.text);
  return answer.status;
}

}  // namespace tapescope::cli
