#include "tools/inspection/structure.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "autograd/leaf.h"
#include "autograd/ops/ops.h"
#include "autograd/reach.h"
#include "tools/inspection/backward.h"

namespace tapescope::inspection {
namespace {

std::string window_of(const Footprint& f) {
  if (f.kind != Footprint::Kind::window) return "";
  const auto pair = [](std::int64_t h, std::int64_t w) {
    return h == w ? fmt::format("{}", h) : fmt::format("{}x{}", h, w);
  };
  std::string text = fmt::format("{}x{}", f.kernel_h, f.kernel_w);
  if (f.stride_h != 1 || f.stride_w != 1) text += " /" + pair(f.stride_h, f.stride_w);
  if (f.pad_h != 0 || f.pad_w != 0) text += " +" + pair(f.pad_h, f.pad_w);
  if (f.dilation_h != 1 || f.dilation_w != 1) text += " *" + pair(f.dilation_h, f.dilation_w);
  return text;
}

// What a position of the row's output sees, from what its inputs' positions see.
void widen(StructureRow& row, const Footprint& footprint, const std::vector<StructureRow>& rows) {
  for (int input : row.inputs) {
    if (input < 0) continue;
    const StructureRow& from = rows[static_cast<std::size_t>(input)];
    const auto further = [](std::int64_t& mine, std::int64_t other) {
      mine = mine < 0 || other < 0 ? -1 : std::max(mine, other);
    };
    further(row.field_h, from.field_h);
    further(row.field_w, from.field_w);
    row.jump_h = std::max(row.jump_h, from.jump_h);
    row.jump_w = std::max(row.jump_w, from.jump_w);
  }
  if (footprint.kind == Footprint::Kind::pointwise) return;
  if (footprint.kind == Footprint::Kind::global) {
    row.field_h = row.field_w = -1;
    return;
  }
  if (row.field_h >= 0) {
    row.field_h += (footprint.kernel_h - 1) * footprint.dilation_h * row.jump_h;
  }
  if (row.field_w >= 0) {
    row.field_w += (footprint.kernel_w - 1) * footprint.dilation_w * row.jump_w;
  }
  row.jump_h *= footprint.stride_h;
  row.jump_w *= footprint.stride_w;
}

bool below(const std::string& path, const std::string& module) {
  return path.size() > module.size() && path.starts_with(module) && path[module.size()] == '/';
}

std::vector<ModuleRow> modules_of(const std::vector<StructureRow>& rows) {
  std::vector<ModuleRow> modules;
  std::map<std::string, std::size_t> by_path;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    int depth = 0;
    const std::string& path = rows[i].path;
    for (std::size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
      const std::string module = path.substr(0, at);
      const auto [it, added] = by_path.try_emplace(module, modules.size());
      if (added) modules.push_back({{}, module, depth, static_cast<int>(i), 0});
      ModuleRow& row = modules[it->second];
      row.add(rows[i]);
      row.count = static_cast<int>(i) - row.first + 1;
      ++depth;
    }
  }
  return modules;
}

std::uint64_t hash_of(const std::vector<StructureRow>& rows) {
  std::uint64_t hash = 14695981039346656037ull;  // FNV-1a
  const auto mix = [&](std::string_view text) {
    for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  };
  for (const StructureRow& row : rows) {
    mix(row.op);
    mix(row.attributes);
    mix(to_string(row.output));
    for (const Type& operand : row.operands) mix(to_string(operand));
    for (int input : row.inputs) mix(fmt::format("{},", input));
  }
  return hash;
}

}  // namespace

void StructureCounts::add(const StructureCounts& other) {
  parameters += other.parameters;
  frozen += other.frozen;
  buffers += other.buffers;
  macs += other.macs;
  flops += other.flops;
  bytes_moved += other.bytes_moved;
  output_bytes += other.output_bytes;
  saved_bytes += other.saved_bytes;
  forward_seconds += other.forward_seconds;
  backward_seconds += other.backward_seconds;
}

namespace {

// To the row that comes after `rows`. `first_use`: the row that counts a parameter.
void add_parameter(StructureRow& row, const Parameter& parameter, std::vector<StructureRow>& rows,
                   std::map<const Parameter*, std::size_t>& first_use) {
  row.parameter_names.push_back(parameter.name);
  const auto [it, first] = first_use.try_emplace(&parameter, rows.size());
  if (!first) {
    if (it->second != rows.size() && row.uses == 0) row.uses = ++rows[it->second].uses;
    return;
  }
  if (row.parameter_names.size() == 1) row.uses = 1;
  const std::int64_t count = parameter.value.elements();
  (parameter.kind == Parameter::Kind::buffer ? row.buffers
   : parameter.trained()                     ? row.parameters
                                             : row.frozen) += count;
}

}  // namespace

Structure structure_of(const Record& record, const Shape& image, const StructureOptions& options) {
  Tape tape(options.backend.device, Mode::evaluation, {0, options.backend.choices});
  const Var input = tape.input("image", DType::f32, image.with_leading(1));
  const std::vector<Var> outputs = record(tape, input);
  Structure structure;
  structure.input_bytes = static_cast<std::int64_t>(input.type().bytes());
  const std::vector<bool> needed = leading_to(tape, outputs, Through::everything);
  std::map<const Parameter*, std::size_t> first_use;  // row
  std::unordered_map<std::uint32_t, int> row_of;      // by node; -1: the input
  for (const Node* node : tape.nodes()) {
    if (!needed[node->index]) continue;
    if (node->op->is_leaf()) {
      if (node == input.node) row_of[node->index] = -1;
      continue;
    }
    StructureRow row;
    row.node = node->index;
    row.path = node->path();
    row.op = node->op->name();
    row.attributes = describe(*node->op).substr(row.op.size());
    if (!row.attributes.empty()) row.attributes.erase(0, 1);
    const Footprint footprint = node->op->footprint();
    row.window = window_of(footprint);
    for (const Var& operand : node->operands()) {
      row.operands.push_back(operand.type());
      if (const auto it = row_of.find(operand.node->index); it != row_of.end()) {
        row.inputs.push_back(it->second);
      }
      const auto* leaf = dynamic_cast<const ParameterOp*>(operand.node->op.get());
      if (leaf == nullptr) continue;
      add_parameter(row, *leaf->parameter, structure.rows, first_use);
    }
    widen(row, footprint, structure.rows);
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
    row_of[node->index] = static_cast<int>(structure.rows.size());
    structure.rows.push_back(std::move(row));
  }
  add_backward(structure, tape, record, image, options);
  if (options.measure_batch > 0) measure_forward(structure, tape, outputs, image, options);
  for (const StructureRow& row : structure.rows) structure.totals.add(row);
  structure.modules = modules_of(structure.rows);
  structure.hash = hash_of(structure.rows);
  return structure;
}

std::string grouped(double number) {
  std::string digits = fmt::format("{:.0f}", number);
  const int first = digits.starts_with('-') ? 1 : 0;
  for (int at = static_cast<int>(digits.size()) - 3; at > first; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return digits;
}

const std::vector<std::string>& column_names() {
  static const std::vector<std::string> names = {
      "parameters",   "macs",        "flops",           "bytes_moved",     "intensity",
      "output_bytes", "saved_bytes", "forward_seconds", "backward_seconds"};
  return names;
}

double column(const StructureCounts& c, const std::string& name) {
  if (name == "parameters") return static_cast<double>(c.parameters + c.frozen);
  if (name == "macs") return c.macs;
  if (name == "flops") return c.flops;
  if (name == "bytes_moved") return c.bytes_moved;
  if (name == "intensity") return c.intensity();
  if (name == "output_bytes") return static_cast<double>(c.output_bytes);
  if (name == "saved_bytes") return static_cast<double>(c.saved_bytes);
  if (name == "forward_seconds") return c.forward_seconds;
  if (name == "backward_seconds") return c.backward_seconds;
  throw usage_error("there is no column '{}'; known are {}", name, fmt::join(column_names(), ", "));
}

namespace {

// "layer1/0/conv1" as "    conv1": two blanks per level.
std::string indented(const std::string& path, const std::string& parent, int depth) {
  const std::string name = parent.empty() ? path : path.substr(parent.size() + 1);
  return std::string(static_cast<std::size_t>(2 * depth), ' ') + name;
}

std::string field_text(const StructureRow& row) {
  if (row.field_h < 0 || row.field_w < 0) return "all";
  return row.field_h == row.field_w ? fmt::format("{}", row.field_h)
                                    : fmt::format("{}x{}", row.field_h, row.field_w);
}

struct Line {
  std::string name, shape, window, field;
  const StructureCounts* counts;
  std::string variant;
};

// Rows with the modules that they stand in, and the total.
std::vector<Line> lines_of(const Structure& structure) {
  std::vector<Line> lines;
  std::vector<const ModuleRow*> open;
  std::size_t next = 0;
  for (std::size_t i = 0; i < structure.rows.size(); ++i) {
    const StructureRow& row = structure.rows[i];
    while (!open.empty() && !below(row.path, open.back()->path)) open.pop_back();
    for (; next < structure.modules.size() && structure.modules[next].first == static_cast<int>(i);
         ++next) {
      const ModuleRow& module = structure.modules[next];
      if (module.count < 2) continue;  // its one row says it all
      lines.push_back({indented(module.path, open.empty() ? "" : open.back()->path,
                                static_cast<int>(open.size())),
                       "", "", "", &module, ""});
      open.push_back(&module);
    }
    std::string name =
        indented(row.path, open.empty() ? "" : open.back()->path, static_cast<int>(open.size()));
    if (row.uses > 1) name += fmt::format(" (use {})", row.uses);
    lines.push_back(
        {name, to_string(row.output.shape), row.window, field_text(row), &row, row.variant});
  }
  lines.push_back({"total", "", "", "", &structure.totals, ""});
  return lines;
}

}  // namespace

std::string to_text(const Structure& structure) {
  const bool timed = structure.measured_batch > 0;
  const double all = static_cast<double>(
      std::max<std::int64_t>(1, structure.totals.parameters + structure.totals.frozen));
  const std::vector<Line> lines = lines_of(structure);
  std::size_t width = 4;
  for (const Line& line : lines) width = std::max(width, line.name.size());
  std::string text = fmt::format("{:<{}}  {:<18} {:<12} {:>6} {:>12} {:>6} {:>15} {:>13} {:>13}",
                                 "node", width, "output shape", "window", "field", "parameters",
                                 "share", "MACs", "output bytes", "saved bytes");
  if (timed) text += fmt::format(" {:>10} {:>11}  kernel", "forward ms", "backward ms");
  text += '\n';
  const auto number = [](double value) { return value != 0 ? grouped(value) : std::string(); };
  for (const Line& line : lines) {
    const StructureCounts& c = *line.counts;
    const auto parameters = static_cast<double>(c.parameters + c.frozen);
    text += fmt::format("{:<{}}  {:<18} {:<12} {:>6} {:>12} {:>6} {:>15} {:>13} {:>13}", line.name,
                        width, line.shape, line.window, line.field, number(parameters),
                        parameters > 0 ? fmt::format("{:.1f}%", 100 * parameters / all) : "",
                        number(c.macs), number(static_cast<double>(c.output_bytes)),
                        number(static_cast<double>(c.saved_bytes)));
    if (timed) {
      text += fmt::format(" {:>10.3f} {:>11.3f}  {}", 1e3 * c.forward_seconds,
                          1e3 * c.backward_seconds, line.variant);
    }
    while (text.back() == ' ') text.pop_back();
    text += '\n';
  }
  const StructureCounts& t = structure.totals;
  text += fmt::format(
      "\nFLOPs {}, {:.1f} per byte moved. MACs are those of convolutions and matrix products, "
      "biases "
      "not counted. saved bytes:\nwhat a training step keeps for its backward pass, per image "
      "(whole input among it).\n",
      grouped(t.flops), t.intensity());
  if (timed) text += fmt::format("Times are of {} images, averaged.\n", structure.measured_batch);
  return text;
}

}  // namespace tapescope::inspection
