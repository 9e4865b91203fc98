#include "tools/cli/inspect.h"

#include <CLI/CLI.hpp>

namespace tapescope::cli {

namespace {

std::function<int()> setup(CLI::App& app) {
  app.require_subcommand(1);
  auto chosen = std::make_shared<std::function<int()>>();
  for (const Subcommand* analysis : {&kInspectStructure, &kInspectParameters, &kInspectActivations,
                                     &kInspectTraining, &kInspectTape}) {
    CLI::App* sub = app.add_subcommand(analysis->name, analysis->summary);
    sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    sub->footer(std::string("Example:\n  ") + analysis->example);
    const std::function<int()> action = analysis->setup(*sub);
    sub->callback([chosen, action] { *chosen = action; });
  }
  return [chosen] { return (*chosen)(); };
}

}  // namespace

const Subcommand kInspect = {"inspect", "a model's structure, parameters, activations and training",
                             "tapescope inspect structure --model resnet18 --image-size 224",
                             setup};

}  // namespace tapescope::cli
