#include <fmt/format.h>

#include "tools/cli/cli.h"
#include "tools/training/convert_weights.h"

namespace tapescope::cli {
namespace {

struct WeightsArguments {
  WeightsRequest request;
  bool json = false;
};

int run(const WeightsArguments& options) {
  const WeightsAnswer answer = describe_weights(options.request);
  fmt::print("{}", options.json ? answer.json + "\n" : answer.text);
  return 0;
}

std::function<int()> setup_weights(CommandLine& line) {
  auto options = std::make_shared<WeightsArguments>();
  WeightsRequest& request = options->request;
  line.option("file", request.file, "safetensors, or PyTorch's .pt, .pth or .bin").required();
  line.flag("--all", request.all, "list every tensor, not a screen of them");
  line.option("--out", request.out, "safetensors file to write with the same tensors");
  line.option(
      "--rename", request.rename,
      "file with lines of OLD NEW: what names begin with, and what they begin with in --out");
  line.option("--model", request.model,
              "the model that --out is of: it can be used then as a run's checkpoint can");
  line.option("--classes", request.classes,
              "of --model: file with its classes' names, one per line");
  line.option("--preprocess", request.preprocess,
              "of --model: what its pictures go through, imagenet or transforms as JSON")
      .show_default();
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kWeights = {"weights", "list what a file of weights holds, or write it anew",
                             "tapescope weights resnet18.pth --out resnet18.safetensors",
                             setup_weights};

}  // namespace tapescope::cli
