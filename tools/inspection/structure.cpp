#include "tools/inspection/structure.h"

#include <algorithm>
#include <set>

#include "autograd/leaf.h"

namespace tapescope::inspection {
namespace {

std::vector<bool> needed_by(const Tape& tape, std::span<const Var> outputs) {
  std::vector<bool> needed(tape.nodes().size(), false);
  for (const Var& output : outputs) needed[output.node->index] = true;
  for (std::size_t i = needed.size(); i-- > 0;) {
    if (!needed[i]) continue;
    for (const Var& operand : tape.nodes()[i]->operands()) needed[operand.node->index] = true;
  }
  return needed;
}

// 1234567 as "1,234,567".
std::string grouped(double number) {
  std::string digits = fmt::format("{:.0f}", number);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

}  // namespace

Structure structure_of(const Tape& tape, std::span<const Var> outputs) {
  Structure structure;
  structure.totals.path = "total";
  const std::vector<bool> needed = needed_by(tape, outputs);
  std::set<const Parameter*> counted;
  for (const Node* node : tape.nodes()) {
    if (!needed[node->index] || node->op->is_leaf()) continue;
    StructureRow row;
    row.path = node->path();
    row.op = node->op->name();
    row.attributes = describe(*node->op).substr(row.op.size());
    if (!row.attributes.empty()) row.attributes.erase(0, 1);
    for (const Var& operand : node->operands()) {
      row.operands.push_back(operand.type());
      const auto* leaf = dynamic_cast<const ParameterOp*>(operand.node->op.get());
      if (leaf == nullptr || !counted.insert(leaf->parameter.get()).second) continue;
      const Parameter& parameter = *leaf->parameter;
      (parameter.kind == Parameter::Kind::buffer ? row.buffers : row.parameters) +=
          parameter.value.elements();
    }
    row.output = node->types()[0];
    const Cost cost = node->op->cost(row.operands, node->types());
    row.macs = cost.macs;
    row.flops = cost.flops;
    if (node->op->alias() < 0) {
      row.bytes_moved = cost.bytes;
      for (const Type& type : node->types()) {
        row.output_bytes += static_cast<std::int64_t>(type.bytes());
      }
    }
    StructureRow& totals = structure.totals;
    totals.parameters += row.parameters;
    totals.buffers += row.buffers;
    totals.macs += row.macs;
    totals.flops += row.flops;
    totals.bytes_moved += row.bytes_moved;
    totals.output_bytes += row.output_bytes;
    structure.rows.push_back(std::move(row));
  }
  return structure;
}

std::string to_text(const Structure& structure) {
  std::size_t width = 4;
  for (const StructureRow& row : structure.rows) width = std::max(width, row.path.size());
  const auto line = [&](std::string_view path, std::string_view shape, std::string_view parameters,
                        std::string_view macs, std::string_view bytes) {
    return fmt::format("{:<{}}  {:<20} {:>14} {:>16} {:>14}\n", path, width, shape, parameters,
                       macs, bytes);
  };
  std::string text = line("node", "output shape", "parameters", "MACs", "output bytes");
  for (const StructureRow& row : structure.rows) {
    text += line(row.path, to_string(row.output.shape),
                 row.parameters != 0 ? grouped(static_cast<double>(row.parameters)) : "",
                 row.macs != 0 ? grouped(row.macs) : "",
                 row.output_bytes != 0 ? grouped(static_cast<double>(row.output_bytes)) : "");
  }
  const StructureRow& totals = structure.totals;
  text += line("total", "", grouped(static_cast<double>(totals.parameters)), grouped(totals.macs),
               grouped(static_cast<double>(totals.output_bytes)));
  return text;
}

}  // namespace tapescope::inspection
