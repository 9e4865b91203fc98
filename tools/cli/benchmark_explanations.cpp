#include "tools/tasks/benchmark_explanations.h"
#include "tools/cli/cli.h"
#include "tools/cli/explanation_options.h"
#include "tools/files/atomic_file.h"
#include "tools/tasks/kit.h"

namespace tapescope::cli {
namespace {

struct BenchmarkExplanationsArguments {
  RunOptions run;
  tasks::BenchmarkCommand command{.data = {.limit = 20}};
  std::string out;
  bool json = false;
};

int run(BenchmarkExplanationsArguments& options) {
  InputFiles inputs = tasks::files_of(options.run);
  for (const std::string& path : {options.command.data.folder, options.command.masks}) {
    inputs.add(path);
  }
  if (!options.out.empty()) {
    inputs.expect_apart("--out", options.out);
    expect_writable("--out", options.out);
  }
  options.run.apply();
  const auto run = tasks::open_run(options.run);
  options.command.options.backend = options.run.backend();
  const tasks::Answer answer = tasks::benchmark_explanations(*run, options.command);
  if (!options.out.empty()) write_atomically(options.out, answer.json + "\n");
  return print(answer, options.json);
}

std::function<int()> setup_benchmark_explanations(CommandLine& line) {
  auto options = std::make_shared<BenchmarkExplanationsArguments>();
  options->run.add_with_model(line);
  options->run.add_allow_outside(line);
  options->command.options.request.methods =
      "saliency,integrated-gradients,lrp-epsilon-plus,grad-cam";
  add_explanation_options(line, options->command.options.request,
                          "names from `explain --list`, several with commas, or all that the model "
                          "admits; odam and d-rise are a detector's");
  line.option("--data", options->command.data.folder,
              "folder with the split; a detector's is Pascal VOC, COCO or YOLO (or its data.yaml)")
      .required();
  line.option("--masks", options->command.masks,
              "folder that mirrors --data, with .png files white where the cause is");
  line.option("--split", options->command.data.split, "train, validation or test").show_default();
  line.option("--limit", options->command.data.limit, "pictures, spread over the split; 0: all")
      .show_default()
      .range(0, 1 << 30);
  line.flag("--cascade", options->command.cascade,
            "also make the layers random one by one, from the output down, and say how alike the "
            "maps stay: a map that does not change does not show what was learnt");
  line.option("--out", options->out, "JSON file to write the table to");
  line.flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kBenchmarkExplanations = {
    "benchmark-explanations", "which explanations of a run are good, method by metric",
    "tapescope benchmark-explanations --run runs/flowers --data flowers --limit 10",
    setup_benchmark_explanations};

}  // namespace tapescope::cli
