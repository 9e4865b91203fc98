#include "tools/inspection/tape_json.h"

#include <nlohmann/json.hpp>

namespace tapescope::inspection {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> texts(std::span<const Type> types) {
  std::vector<std::string> all;
  for (const Type& type : types) all.push_back(to_string(type));
  return all;
}

Json nodes_of(const Tape& tape) {
  Json nodes = Json::array();
  for (const Node* node : tape.nodes()) {
    Json operands = Json::array();
    for (const Var& operand : node->operands()) {
      operands.push_back({{"node", operand.node->index}, {"output", operand.output}});
    }
    nodes.push_back({{"node", node->index},
                     {"path", node->path()},
                     {"op", node->op->name()},
                     {"text", describe(*node->op)},
                     {"operands", operands},
                     {"types", texts(node->types())},
                     {"origin", node->origin ? Json(node->origin->index) : Json()}});
  }
  return nodes;
}

Json program_of(Program& program) {
  Json steps = Json::array();
  for (const StepInfo& step : program.steps()) {
    steps.push_back({{"node", step.node},
                     {"path", step.path},
                     {"op", step.op->name()},
                     {"operands", texts(step.operands)},
                     {"outputs", texts(step.outputs)},
                     {"kernel", step.variant},
                     {"in_place", step.in_place}});
  }
  const MemoryPlan plan = program.plan();
  const Json memory = {{"arena", plan.arena},
                       {"unpacked", plan.unpacked},
                       {"lower_bound", plan.lower_bound},
                       {"parameters", plan.parameters},
                       {"packed", plan.packed},
                       {"kept", plan.kept},
                       {"inputs", plan.inputs},
                       {"outputs", plan.outputs},
                       {"total", plan.total()}};
  return {{"steps", steps}, {"memory_bytes", memory}};
}

}  // namespace

std::string to_json(const std::string& model, const Tape& tape, Program* program) {
  Json json = {{"model", model}, {"nodes", nodes_of(tape)}};
  if (program != nullptr) json["program"] = program_of(*program);
  return json.dump(2);
}

}  // namespace tapescope::inspection
