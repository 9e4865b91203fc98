#include "autograd/program/print.h"

#include <algorithm>
#include <array>
#include <map>

namespace tapescope {
namespace {

std::string reference(const Var& var) {
  return var.node->output_count == 1 ? fmt::format("%{}", var.node->index)
                                     : fmt::format("%{}.{}", var.node->index, var.output);
}

std::string listed(std::span<const Type> types) {
  std::string text;
  for (const Type& type : types) text += (text.empty() ? "" : ", ") + to_string(type);
  return text;
}

// Quotes and backslashes are what the dot language reserves inside a label.
std::string escaped(std::string_view text) {
  std::string result;
  for (char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

// The scopes that nodes lie in, as a tree.
struct Cluster {
  std::map<std::string, Cluster> inner;
  std::vector<const Node*> nodes;

  Cluster& at(std::string_view scope) {
    if (scope.empty()) return *this;
    const std::size_t slash = scope.find('/');
    Cluster& next = inner[std::string(scope.substr(0, slash))];
    return slash == std::string_view::npos ? next : next.at(scope.substr(slash + 1));
  }

  void write(std::string& text, const std::string& name, int depth, int& count) const {
    const std::string indent(static_cast<std::size_t>(2 * depth), ' ');
    if (depth > 1) {
      text += fmt::format("{}subgraph cluster_{} {{\n{}  label=\"{}\";\n", indent.substr(2),
                          count++, indent.substr(2), escaped(name));
    }
    for (const Node* node : nodes) {
      // Leaves are named by what they hold, other nodes by their op: the cluster says the rest.
      const std::string title = node->op->is_leaf() ? node->path() : describe(*node->op);
      text += fmt::format("{}n{} [label=\"{}\\n{}\"{}];\n", indent, node->index, escaped(title),
                          listed(node->types()), node->op->is_leaf() ? " shape=box" : "");
    }
    for (const auto& [inner_name, cluster] : inner) {
      cluster.write(text, inner_name, depth + 1, count);
    }
    if (depth > 1) text += indent.substr(2) + "}\n";
  }
};

}  // namespace

std::string describe_briefly(const Op& op) {
  std::string text = describe(op);
  for (std::size_t h = text.find("_h="); h != std::string::npos; h = text.find("_h=", h + 1)) {
    const std::size_t name = text.rfind(' ', h) + 1, end = std::min(text.find(' ', h), text.size());
    const std::string value = text.substr(h + 3, end - h - 3);
    const std::string twin = fmt::format(" {}_w={}", text.substr(name, h - name), value);
    if (text.compare(end, twin.size(), twin) != 0) continue;
    const std::size_t behind = end + twin.size();
    if (behind < text.size() && text[behind] != ' ') continue;
    text.erase(end, twin.size());
    text.erase(h, 2);
  }
  return text;
}

std::string list_nodes(const Tape& tape, std::uint32_t first) {
  constexpr std::size_t kColumns = 5;
  std::vector<std::array<std::string, kColumns>> rows;
  std::array<std::size_t, kColumns> width{};
  for (const Node* node : tape.nodes()) {
    if (node->index < first) continue;
    std::string operands;
    for (const Var& operand : node->operands()) {
      operands += (operands.empty() ? "" : ", ") + reference(operand);
    }
    rows.push_back({fmt::format("%{}", node->index), node->path(), describe_briefly(*node->op),
                    fmt::format("({})", operands), listed(node->types())});
    if (node->origin != nullptr) rows.back()[4] += fmt::format("  of %{}", node->origin->index);
    for (std::size_t c = 0; c < kColumns; ++c) width[c] = std::max(width[c], rows.back()[c].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t c = 0; c + 1 < kColumns; ++c) {
      text += fmt::format("{:<{}}  ", row[c], width[c]);
    }
    text += row[kColumns - 1] + "\n";
  }
  return text;
}

std::string dot_graph(const Tape& tape, std::uint32_t first) {
  Cluster root;
  std::string edges;
  for (const Node* node : tape.nodes()) {
    if (node->index < first) continue;
    root.at(node->op->is_leaf() ? std::string_view() : node->scope()).nodes.push_back(node);
    for (int i = 0; i < node->operand_count; ++i) {
      const Node& from = *node->operand_data[i].node;
      if (from.index < first) continue;
      edges += fmt::format("  n{} -> n{}{};\n", from.index, node->index,
                           node->op->role(i) == Role::shape ? " [style=dashed]" : "");
    }
  }
  std::string text = "digraph tape {\n  node [fontname=\"sans-serif\"];\n";
  int count = 0;
  root.write(text, "", 1, count);
  return text + edges + "}\n";
}

std::string list_steps(Program& program, std::int64_t batch) {
  constexpr std::size_t kColumns = 4;
  std::vector<std::array<std::string, kColumns>> rows;
  std::vector<std::string> types;
  std::array<std::size_t, kColumns> width{};
  const std::vector<StepInfo> steps = program.steps(batch);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const StepInfo& step = steps[i];
    std::string index = fmt::format("{:>4}", i), what = describe_briefly(*step.op);
    std::string how = fmt::format("{}{}{}", step.variant, step.in_place ? ", in place" : "",
                                  step.kept ? ", kept" : "");
    const StepInfo* last = &step;
    // What one node's weights are made into, once, is one line.
    while (step.kept && i + 1 < steps.size() && steps[i + 1].kept &&
           steps[i + 1].path == step.path) {
      last = &steps[++i];
      if (how != "kept") what = step.op->name(), how = "kept";
      what += fmt::format(", {}", last->op->name());
    }
    if (last != &step) index += fmt::format("-{}", i);
    types.push_back(fmt::format("{} -> {}", listed(step.operands), listed(last->outputs)));
    rows.push_back({std::move(index), step.path, std::move(what), std::move(how)});
    for (std::size_t c = 0; c < kColumns; ++c) width[c] = std::max(width[c], rows.back()[c].size());
  }
  std::string text;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t c = 0; c < kColumns; ++c)
      text += fmt::format("{:<{}}  ", rows[i][c], width[c]);
    text += types[i] + '\n';
  }
  const MemoryPlan plan = program.plan(batch);
  return text +
         fmt::format(
             "\nmemory, bytes: {} in all\n"
             "{:>14}  arena of intermediate values and workspaces ({} without sharing, {} live "
             "at the busiest step)\n{:>14}  parameters\n{:>14}  kept of parameters by kernels\n"
             "{:>14}  kept of what is made of parameters\n"
             "{:>14}  inputs\n{:>14}  outputs\n",
             plan.total(), plan.arena, plan.unpacked, plan.lower_bound, plan.parameters,
             plan.packed, plan.kept, plan.inputs, plan.outputs);
}

}  // namespace tapescope
