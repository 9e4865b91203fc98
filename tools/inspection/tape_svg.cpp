#include "tools/inspection/tape_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/files/text.h"

namespace tapescope::inspection {
namespace {

constexpr double kRow = 19, kCharacter = 6.65, kLeft = 96, kRight = 96, kTop = 8;

std::string markup(std::string_view text) {
  std::string result;
  for (const char c : printable(text)) {
    result += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
  }
  return result;
}

// Half an ellipse between two rows, wider the further apart they are, to the left or to the right.
std::string arc(double x, double from, double to, double room, bool left,
                const std::string& style) {
  const double reach = std::min(room - 6, 10 + 9 * std::sqrt(std::abs(to - from) / kRow) * 1.6);
  const double bend = left ? x - reach : x + reach;
  return fmt::format(
      "<path class=\"{}\" d=\"M{:.1f} {:.1f}C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}\"/>\n",
      style, x, from, bend, from, bend, to, x, to);
}

}  // namespace

std::string tape_svg(const Tape& tape) {
  struct Row {
    const Node* node;
    std::string index, path, op, types;
  };
  std::vector<Row> rows;
  std::size_t path_width = 0, op_width = 0, type_width = 0;
  for (const Node* node : tape.nodes()) {
    std::string types;
    for (const Type& type : node->types()) types += (types.empty() ? "" : ", ") + to_string(type);
    rows.push_back({node, fmt::format("%{}", node->index), node->path(),
                    node->op->is_leaf() ? "" : std::string(node->op->name()), types});
    path_width = std::max(path_width, rows.back().path.size());
    op_width = std::max(op_width, rows.back().op.size());
    type_width = std::max(type_width, types.size());
  }
  const double x_path = kLeft + 5 * kCharacter,
               x_op = x_path + (static_cast<double>(path_width) + 2) * kCharacter,
               x_type = x_op + (static_cast<double>(op_width) + 2) * kCharacter,
               x_end = x_type + static_cast<double>(type_width) * kCharacter + 6;
  const auto y_of = [](const Node* node) { return kTop + kRow * (node->index + 0.5); };
  std::string text = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\">\n"
      "<style>\n"
      "text {{ font: 11px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: "
      "#1f2328; white-space: pre }}\n"
      ".leaf {{ fill: #6e7781 }} .appended {{ fill: #bc4c00 }}\n"
      "path {{ fill: none; stroke: #0969da; stroke-opacity: .55; stroke-width: 1.1 }}\n"
      ".a {{ stroke: #bc4c00 }} .shape {{ stroke-dasharray: 2 3 }} .origin {{ stroke: #8250df; "
      "stroke-dasharray: 5 3 }}\n"
      "@media (prefers-color-scheme: dark) {{\n"
      "text {{ fill: #e6edf3 }} .leaf {{ fill: #8d96a0 }} .appended {{ fill: #ffa657 }}\n"
      "path {{ stroke: #58a6ff }} .a {{ stroke: #ffa657 }} .origin {{ stroke: #d2a8ff }}\n"
      "}}\n</style>\n",
      x_end + kRight, 2 * kTop + kRow * static_cast<double>(rows.size()));
  for (const Row& row : rows) {
    const double y = y_of(row.node);
    const bool appended = row.node->origin != nullptr || *row.node->prefix != 0;
    for (int i = 0; i < row.node->operand_count; ++i) {
      std::string style = appended ? "a" : "r";
      if (row.node->op->role(i) == Role::shape) style += " shape";
      text += arc(kLeft, y_of(row.node->operand_data[i].node), y, kLeft, true, style);
    }
    if (row.node->origin != nullptr) {
      text += arc(x_end, y, y_of(row.node->origin), kRight, false, "origin");
    }
    const char* style = row.node->op->is_leaf() ? "leaf" : appended ? "appended" : "recorded";
    for (const auto& [x, word] : {std::pair(kLeft + 5, row.index), std::pair(x_path, row.path),
                                  std::pair(x_op, row.op), std::pair(x_type, row.types)}) {
      if (word.empty()) continue;
      text += fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", style, x,
                          y + 4, markup(word));
    }
  }
  return text + "</svg>\n";
}

}  // namespace tapescope::inspection
