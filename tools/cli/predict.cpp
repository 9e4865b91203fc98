#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include "tools/cli/cli.h"

#include "tools/data/picture_files.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/onnx/raw.h"
#include "tools/tasks/kit.h"

namespace tapescope::cli {
namespace {

struct PredictArguments {
  RunOptions run;
  tasks::PredictionRequest request;
  std::string raw, out;
  bool json = false;
};

// Arrays in, arrays out, whatever the graph is of.
int run_raw(const PredictArguments& options) {
  if (!options.request.pictures.empty() || options.run.run.empty() || options.out.empty()) {
    throw usage_error("--raw goes with --model FILE.onnx and --out FOLDER, and without pictures");
  }
  options.run.apply();
  onnx::RawRequest request{
      options.run.run, comma_separated(options.raw), {}, options.out, options.run.allow_outside};
  if (!options.run.onnx.outputs.empty()) {
    request.outputs = comma_separated(options.run.onnx.outputs);
  }
  nlohmann::ordered_json outputs = nlohmann::ordered_json::array();
  for (const onnx::RawAnswer& answer : onnx::run_raw(request, options.run.backend())) {
    outputs.push_back({{"name", answer.name}, {"npy", answer.file}, {"type", answer.type}});
    if (!options.json) {
      fmt::print("{}  {}  {}\n", printable(answer.name), answer.type, printable(answer.file));
    }
  }
  if (options.json) fmt::print("{}\n", json_text(nlohmann::ordered_json{{"outputs", outputs}}, 2));
  return 0;
}

int run(PredictArguments& options) {
  if (!options.raw.empty()) return run_raw(options);
  if (options.request.pictures.empty())
    throw usage_error("no picture given: name at least one file");
  options.run.apply();
  const auto run = tasks::open_run(options.run);
  options.request.pictures = picture_files(options.request.pictures);
  tell_dark(options.request.pictures);
  if (!options.json) {
    options.request.say = [](const std::string& text) { fmt::print("{}", text); };
  }
  const tasks::Predicted predicted = run->predict(options.request, options.run.backend());
  if (options.json) fmt::print("{}\n", predicted.json);
  return predicted.status;
}

std::function<int()> setup_predict(CommandLine& line) {
  auto options = std::make_shared<PredictArguments>();
  options->run.add_with_model(line);
  options->run.add_precision(line);
  options->run.add_allow_outside(line);
  line.option("images", options->request.pictures, "picture files, and folders of them").many();
  line.option("--raw", options->raw,
              "with --model FILE.onnx: .npy files, one for each of its inputs, with commas");
  line.option("--out", options->out, "with --raw: folder for a .npy file of every output");
  line.option("--top", options->request.top, "classes to list").show_default().range(1, 1 << 20);
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kPredict = {"predict", "the most probable classes of pictures",
                             "tapescope predict --run runs/flowers rose.jpg --top 3",
                             setup_predict};

}  // namespace tapescope::cli
