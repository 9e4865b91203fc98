#include <fmt/format.h>

#include "tools/cli/cli.h"
#include "tools/data/picture_files.h"
#include "tools/tasks/kit.h"

namespace tapescope::cli {
namespace {

struct Options {
  RunOptions run;
  tasks::PredictionRequest request;
  bool json = false;
};

int run(Options& options) {
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

std::function<int()> setup(CommandLine& line) {
  auto options = std::make_shared<Options>();
  options->run.add_to(line);
  line.option("images", options->request.pictures, "picture files, and folders of them")
      .required()
      .many();
  line.option("--top", options->request.top, "classes to list").show_default().range(1, 1 << 20);
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kPredict = {"predict", "the most probable classes of pictures",
                             "tapescope predict --run runs/flowers rose.jpg --top 3", setup};

}  // namespace tapescope::cli
