#include "tools/cli/inspect.h"

#include "tools/files/near_names.h"
#include "tools/onnx/graph.h"
#include "tools/tasks/kit.h"

namespace tapescope::cli {

void ModelSource::add_to(CommandLine& line) {
  run.add_to(line, false);
  line.option("--model", model.name,
              "a model of the zoo, centre-detector, or an ONNX file, instead of a run");
  line.option("--image-size", model.image_size, "with --model; 0: its usual one");
  line.option("--classes", model.classes, "with --model; 0: 1000, or 20 of centre-detector")
      .range(0, 1 << 20);
  line.option("--channels", model.channels, "with --model").show_default();
  line.option("--width", model.width, "with --model").show_default();
  run.add_onnx_end(line);
}

std::unique_ptr<tasks::Run> ModelSource::open() const {
  run.apply();
  if (run.run.empty() == model.name.empty()) {
    throw usage_error("inspect needs either --run RUN or --model NAME");
  }
  if (onnx::names_onnx(model.name)) {
    tasks::RunRequest asked = run;
    asked.run = model.name;
    asked.onnx.image_size = model.image_size;
    if (asked.onnx.mean.empty()) asked.onnx.mean = "0", asked.onnx.std = "1";
    auto opened = tasks::open_run(asked);
    move_to(run.backend().device, opened->model().parameters());
    return opened;
  }
  expect_no_slip("model", model.name, tasks::model_names(), "`train --help` tells all");
  auto opened = run.run.empty() ? tasks::new_run(model) : tasks::open_run(run);
  move_to(run.backend().device, opened->model().parameters());
  return opened;
}

namespace {

std::function<int()> setup_inspect(CommandLine& line) {
  return line.words({&kInspectStructure, &kInspectParameters, &kInspectActivations,
                     &kInspectTraining, &kInspectTape});
}

}  // namespace

const Subcommand kInspect = {"inspect", "a model's structure, parameters, activations and training",
                             "tapescope inspect structure --model resnet18 --image-size 224",
                             setup_inspect};

}  // namespace tapescope::cli
