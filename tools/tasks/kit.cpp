#include "tools/tasks/kit.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "tools/files/folders.h"
#include "tools/files/text.h"
#include "tools/onnx/net.h"
#include "tools/training/checkpoint.h"

namespace tapescope::tasks {

const Kit& kit_named(std::string_view name) {
  std::vector<std::string_view> known;
  for (const Kit* kit : kits()) {
    if (kit->name() == name) return *kit;
    known.push_back(kit->name());
  }
  throw usage_error("there is no task '{}'; known are {}", printable(name), fmt::join(known, ", "));
}

const Kit& kit_for(const TrainConfig& config) {
  if (config.task != "auto") return kit_named(config.task);
  for (const Kit* kit : kits()) {
    if (kit->takes(config)) return *kit;
  }
  throw failure("no task takes the model '{}'", config.model);
}

namespace {

const Kit& kit_of(const SafetensorsFile& file) {
  const auto named = file.metadata().find(kTaskKey);
  for (const Kit* kit : kits()) {
    if (named != file.metadata().end() ? kit->name() == named->second : kit->wrote(file)) {
      return *kit;
    }
  }
  if (named != file.metadata().end()) {
    throw usage_error("'{}' is of the task '{}', which this version does not know",
                      printable(file.path().string()), printable(named->second));
  }
  throw usage_error(
      "'{}' does not say which model it is of (its metadata has no "
      "tapescope.model); give it to `train --weights` instead",
      printable(file.path().string()));
}

std::unique_ptr<Run> open_onnx(const RunRequest& asked) {
  onnx::Graph graph = onnx::read_graph(asked.run, {.allow_outside = asked.allow_outside});
  if (!asked.onnx.outputs.empty()) onnx::cut(graph, comma_separated(asked.onnx.outputs));
  for (const Kit* kit : kits()) {
    if (std::unique_ptr<Run> run = kit->open_onnx(asked, graph)) return run;
  }
  throw failure("no task takes the ONNX file '{}'", asked.run);
}

// A net that is to be trained, where a trained one is asked for.
void expect_no_model_name(const std::string& run) {
  const std::vector<std::string> names = model_names();
  if (is_folder(run) || std::find(names.begin(), names.end(), run) == names.end()) return;
  throw usage_error(
      "'{}' is a model to be trained, no run and no ONNX file: `tapescope train --model {} --data "
      "FOLDER --out RUN` makes a run of it, which --run RUN names; --model takes a file .onnx",
      run, run);
}

}  // namespace

std::unique_ptr<Run> open_run(const RunRequest& asked) {
  const bool onnx_file = onnx::names_onnx(asked.run);
  if (onnx_file && asked.checkpoint != "best") {
    throw usage_error("--checkpoint {} is of a run; '{}' is one net", printable(asked.checkpoint),
                      printable(asked.run));
  }
  if (!onnx_file && asked.onnx != OnnxRequest{}) {
    throw usage_error(
        "--image-size, --image-width, --resize, --mean, --std, --class-names, --outputs and --head are of an ONNX "
        "file; the run '{}' says how its pictures are made ready and what its classes are called",
        printable(asked.run));
  }
  if (onnx_file) return open_onnx(asked);
  expect_no_model_name(asked.run);
  SafetensorsFile file(checkpoint_path(asked.run, asked.checkpoint));
  expect_known_format(file);
  std::vector<std::string> notices;
  std::unique_ptr<Run> run = kit_of(file).open(
      file, asked, {.allow_non_finite = asked.allow_non_finite, .notices = &notices});
  for (const std::string& notice : notices) fmt::print(stderr, "{}\n", notice);
  return run;
}

std::unique_ptr<Run> new_run(const ModelConfig& config) {
  for (auto kit = kits().rbegin(); kit != kits().rend(); ++kit) {
    const std::vector<std::string> models = (*kit)->models();
    if (std::find(models.begin(), models.end(), config.name) != models.end()) {
      return (*kit)->make(config);
    }
  }
  throw usage_error("unknown model '{}'; known are {}", config.name,
                    fmt::join(model_names(), ", "));
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const Kit* kit : kits()) {
    for (std::string& name : kit->models()) {
      if (std::find(names.begin(), names.end(), name) == names.end()) {
        names.push_back(std::move(name));
      }
    }
  }
  return names;
}

}  // namespace tapescope::tasks
