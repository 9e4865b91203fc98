#include "autograd/print.h"

#include <algorithm>
#include <array>
#include <map>

namespace tapescope {
namespace {

std::string reference(const Var& var) {
  return var.node->output_count == 1 ? fmt::format("%{}", var.node->index)
                                     : fmt::format("%{}.{}", var.node->index, var.output);
}

std::string types_of(const Node& node) {
  std::string text;
  for (const Type& type : node.types()) text += (text.empty() ? "" : ", ") + to_string(type);
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
                          types_of(*node), node->op->is_leaf() ? " shape=box" : "");
    }
    for (const auto& [inner_name, cluster] : inner) {
      cluster.write(text, inner_name, depth + 1, count);
    }
    if (depth > 1) text += indent.substr(2) + "}\n";
  }
};

}  // namespace

std::string list_nodes(const Tape& tape, std::uint32_t first) {
  constexpr std::size_t kColumns = 4;
  std::vector<std::array<std::string, kColumns>> rows;
  std::vector<std::string> types;
  std::array<std::size_t, kColumns> width{};
  for (const Node* node : tape.nodes()) {
    if (node->index < first) continue;
    std::string operands;
    for (const Var& operand : node->operands()) {
      operands += (operands.empty() ? "" : ", ") + reference(operand);
    }
    rows.push_back({fmt::format("%{}", node->index), node->path(), describe(*node->op),
                    fmt::format("({})", operands)});
    types.push_back(types_of(*node));
    for (std::size_t c = 0; c < kColumns; ++c) width[c] = std::max(width[c], rows.back()[c].size());
  }
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < kColumns; ++c) {
      text += fmt::format("{:<{}}  ", rows[r][c], width[c]);
    }
    text += types[r] + "\n";
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

}  // namespace tapescope
