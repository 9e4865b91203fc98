// `tapescope inspect`: one file an analysis; the list is in inspect.cpp.
#pragma once

#include <memory>
#include <string>

#include "tools/cli/cli.h"
#include "tools/inspection/structure.h"
#include "tools/training/checkpoint.h"

namespace tapescope::cli {

extern const Subcommand kInspectStructure, kInspectParameters, kInspectActivations,
    kInspectTraining;

// --run RUN, or --model NAME with its sizes: a trained model or a new one of the zoo.
struct ModelSource {
  RunOptions run;
  ModelConfig model{.name = "", .classes = 1000, .channels = 3, .image_size = 0};
  void add_to(CLI::App& app);
  // Throws a usage error where neither or both are named. A new model's `info` has no classes.
  LoadedModel open();
};

// The model as what structures and activations are read from. `model` must outlive it.
inspection::Record record_of(Classifier& model);
Shape image_shape_of(const ModelConfig& config);  // {H,W,C}

}  // namespace tapescope::cli
