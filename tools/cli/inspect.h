// `tapescope inspect`: one file per analysis; the list is in inspect.cpp.
#pragma once

#include "tools/cli/cli.h"
#include "tools/tasks/run.h"

namespace tapescope::cli {

extern const Subcommand kInspectStructure, kInspectParameters, kInspectActivations,
    kInspectTraining, kInspectTape;

// --run RUN, or --model NAME with its sizes: a trained model or a new one.
struct ModelSource {
  RunOptions run;
  ModelConfig model{.name = "", .classes = 0, .channels = 3, .image_size = 0};
  void add_to(CommandLine& line);
  // Throws a usage error where neither or both are named. The model is on the run's device.
  std::unique_ptr<tasks::Run> open() const;
};

}  // namespace tapescope::cli
