#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "layers/models/zoo.h"
#include "tools/cli/cli.h"
#include "tools/inspection/structure.h"
#include "tools/training/checkpoint.h"

namespace tapescope::cli {
namespace {

struct Options {
  std::string what = "structure";
  RunOptions run;
  ModelConfig model{.name = "", .classes = 1000, .channels = 3, .image_size = 0};
  bool json = false;
};

nlohmann::ordered_json extents(const Shape& shape) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (std::int64_t extent : shape) list.push_back(extent);
  return list;
}

nlohmann::ordered_json to_json(const inspection::StructureRow& row) {
  return {{"parameters", row.parameters},
          {"buffers", row.buffers},
          {"macs", row.macs},
          {"flops", row.flops},
          {"bytes_moved", row.bytes_moved},
          {"output_bytes", row.output_bytes}};
}

int run(Options& options) {
  options.run.apply();
  if (options.what != "structure") {
    throw usage_error("inspect knows structure in this version, not '{}'", options.what);
  }
  if (options.run.run.empty() == options.model.name.empty()) {
    throw usage_error("inspect needs either --run RUN or --model NAME");
  }
  std::unique_ptr<Classifier> model;
  if (!options.run.run.empty()) {
    model = load_model(options.run.run, options.run.checkpoint).model;
  } else {
    if (options.model.image_size == 0) {
      options.model.image_size = describe_model(options.model.name).default_image_size;
    }
    model = make_model(options.model);
  }
  Tape tape(Device::cpu(), Mode::evaluation);
  const ModelConfig& config = model->config();
  const Var image =
      tape.input("image", DType::f32, {1, config.image_size, config.image_size, config.channels});
  const Var logits = (*model)(tape, {{"image", image}}).at("logits");
  const inspection::Structure structure =
      inspection::structure_of(tape, std::span<const Var>(&logits, 1));
  if (!options.json) {
    fmt::print("{} for one image of {}x{}x{}\n\n{}", config.name, config.image_size,
               config.image_size, config.channels, inspection::to_text(structure));
    return 0;
  }
  nlohmann::ordered_json nodes = nlohmann::ordered_json::array();
  for (const inspection::StructureRow& row : structure.rows) {
    nlohmann::ordered_json node = {
        {"path", row.path},
        {"op", row.op},
        {"attributes", row.attributes},
        {"input_shape", extents(row.operands.empty() ? Shape{} : row.operands[0].shape)},
        {"output_shape", extents(row.output.shape)}};
    node.update(to_json(row));
    nodes.push_back(std::move(node));
  }
  fmt::print("{}\n",
             nlohmann::ordered_json{
                 {"model", config.name}, {"nodes", nodes}, {"totals", to_json(structure.totals)}}
                 .dump(2));
  return 0;
}

std::function<int()> setup(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("what", options->what, "structure: a row per node")->capture_default_str();
  options->run.add_to(app, false);
  app.add_option("--model", options->model.name, "a model of the zoo instead of a run");
  app.add_option("--image-size", options->model.image_size, "with --model; 0: its usual one");
  app.add_option("--classes", options->model.classes, "with --model")->capture_default_str();
  app.add_option("--channels", options->model.channels, "with --model")->capture_default_str();
  app.add_option("--width", options->model.width, "with --model")->capture_default_str();
  app.add_flag("--json", options->json, "print one JSON object");
  return [options] { return run(*options); };
}

}  // namespace

const Subcommand kInspect = {"inspect", "the layer table: shapes, parameters, multiply-adds, bytes",
                             "tapescope inspect structure --model resnet18 --image-size 224",
                             setup};

}  // namespace tapescope::cli
