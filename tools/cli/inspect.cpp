#include "tools/cli/inspect.h"

#include <CLI/CLI.hpp>

#include "layers/models/zoo.h"

namespace tapescope::cli {

void ModelSource::add_to(CLI::App& app) {
  run.add_to(app, false);
  app.add_option("--model", model.name, "a model of the zoo instead of a run");
  app.add_option("--image-size", model.image_size, "with --model; 0: its usual one");
  app.add_option("--classes", model.classes, "with --model")->capture_default_str();
  app.add_option("--channels", model.channels, "with --model")->capture_default_str();
  app.add_option("--width", model.width, "with --model")->capture_default_str();
}

LoadedModel ModelSource::open() {
  run.apply();
  if (run.run.empty() == model.name.empty()) {
    throw usage_error("inspect needs either --run RUN or --model NAME");
  }
  LoadedModel loaded;
  if (!run.run.empty()) {
    loaded = load_model(run.run, run.checkpoint);
  } else {
    if (model.image_size == 0) model.image_size = describe_model(model.name).default_image_size;
    loaded.model = make_model(model);
    loaded.info.config = model;
  }
  move_to(run.backend().device, loaded.model->parameters());
  return loaded;
}

inspection::Record record_of(Classifier& model) {
  return [&model](Tape& tape, Var image) { return model(tape, {{"image", image}}).at("logits"); };
}

Shape image_shape_of(const ModelConfig& config) {
  return {config.image_size, config.image_size, config.channels};
}

namespace {

std::function<int()> setup(CLI::App& app) {
  app.require_subcommand(1);
  auto chosen = std::make_shared<std::function<int()>>();
  for (const Subcommand* analysis :
       {&kInspectStructure, &kInspectParameters, &kInspectActivations, &kInspectTraining}) {
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
