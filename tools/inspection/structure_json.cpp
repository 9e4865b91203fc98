#include <nlohmann/json.hpp>

#include "tools/files/json_text.h"
#include "tools/inspection/structure.h"

namespace tapescope::inspection {
namespace {

using Json = nlohmann::ordered_json;

Json extents(const Shape& shape) {
  Json list = Json::array();
  for (std::int64_t extent : shape) list.push_back(extent);
  return list;
}

Json counts(const StructureCounts& c, bool timed) {
  Json json = {{"parameters", c.parameters},
               {"frozen", c.frozen},
               {"buffers", c.buffers},
               {"macs", c.macs},
               {"flops", c.flops},
               {"bytes_moved", c.bytes_moved},
               {"intensity", c.intensity()},
               {"output_bytes", c.output_bytes},
               {"saved_bytes", c.saved_bytes}};
  if (timed) {
    json["forward_seconds"] = c.forward_seconds;
    json["backward_seconds"] = c.backward_seconds;
  }
  return json;
}

}  // namespace

std::string to_json(const Structure& structure, const std::string& model) {
  const bool timed = structure.measured_batch > 0;
  Json nodes = Json::array(), modules = Json::array();
  for (const StructureRow& row : structure.rows) {
    Json node = {{"path", row.path},
                 {"op", row.op},
                 {"attributes", row.attributes},
                 {"window", row.window},
                 {"input_shape", extents(row.operands.empty() ? Shape{} : row.operands[0].shape)},
                 {"output_shape", extents(row.output.shape)},
                 {"inputs", row.inputs},
                 {"parameter_names", row.parameter_names},
                 {"receptive_field", {row.field_h, row.field_w}},
                 {"jump", {row.jump_h, row.jump_w}},
                 {"uses", row.uses}};
    if (timed) node["kernel"] = row.variant;
    node.update(counts(row, timed));
    nodes.push_back(std::move(node));
  }
  for (const ModuleRow& row : structure.modules) {
    Json module = {
        {"path", row.path}, {"depth", row.depth}, {"first", row.first}, {"count", row.count}};
    module.update(counts(row, timed));
    modules.push_back(std::move(module));
  }
  Json json = {{"model", model},
               {"nodes", nodes},
               {"modules", modules},
               {"totals", counts(structure.totals, timed)},
               {"input_bytes", structure.input_bytes},
               {"hash", fmt::format("{:016x}", structure.hash)}};
  if (timed) json["measured_batch"] = structure.measured_batch;
  return json_text(json, 2);
}

}  // namespace tapescope::inspection
