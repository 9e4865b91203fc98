#include "tools/inspection/structure_graph.h"

#include <algorithm>
#include <map>

#include "tools/report/colormap.h"

namespace tapescope::inspection {
namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

struct Paint {
  std::string fill, ink;
};

// The light end of the colours is nothing, the dark end the largest value of the column.
Paint paint(double value, double largest) {
  if (!(value > 0)) return {"#ffffff", "#111111"};
  const double share = largest > 0 ? std::clamp(value / largest, 0.0, 1.0) : 0;
  const Color c = sequential_color(1 - 0.85 * share);
  const bool dark = share > 0.45;
  return {fmt::format("#{:02x}{:02x}{:02x}", c[0], c[1], c[2]), dark ? "#ffffff" : "#111111"};
}

double largest_of(const Structure& structure, const std::string& name) {
  double largest = 0;
  for (const StructureRow& row : structure.rows) largest = std::max(largest, column(row, name));
  return largest;
}

std::string value_text(const StructureRow& row, const std::string& name) {
  const double value = column(row, name);
  if (name.ends_with("seconds")) return fmt::format("{:.3f} ms", 1e3 * value);
  if (name == "intensity") return fmt::format("{:.1f}", value);
  return grouped(value);
}

std::string title(const StructureRow& row) {
  return fmt::format("{}  {}  {}", row.path, to_string(row.output.shape), row.window);
}

}  // namespace

std::string to_dot(const Structure& structure, const std::string& colour_by) {
  const double largest = largest_of(structure, colour_by);
  std::string text =
      "digraph model {\n  node [shape=box, style=filled, fontname=\"sans-serif\"];\n";
  text += "  input [label=\"input\", fillcolor=white];\n";
  for (std::size_t i = 0; i < structure.rows.size(); ++i) {
    const StructureRow& row = structure.rows[i];
    const Paint p = paint(column(row, colour_by), largest);
    text += fmt::format("  n{} [label=\"{}\\n{} {}\", fillcolor=\"{}\", fontcolor=\"{}\"];\n", i,
                        title(row), value_text(row, colour_by), colour_by, p.fill, p.ink);
    for (int input : row.inputs) {
      text += input < 0 ? fmt::format("  input -> n{};\n", i)
                        : fmt::format("  n{} -> n{};\n", input, i);
    }
  }
  return text + "}\n";
}

std::string to_svg(const Structure& structure, const std::string& colour_by) {
  constexpr int kHeight = 26, kStep = 40, kTop = 50, kLeft = 12;
  const double largest = largest_of(structure, colour_by);
  std::size_t longest = 10, arcs = 1;
  for (std::size_t i = 0; i < structure.rows.size(); ++i) {
    const StructureRow& row = structure.rows[i];
    longest = std::max(longest, title(row).size() + value_text(row, colour_by).size() + 3);
    for (int input : row.inputs) {
      if (input >= 0) arcs = std::max(arcs, i - static_cast<std::size_t>(input));
    }
  }
  const int width = static_cast<int>(longest) * 7 + 20;
  const auto reach = [](std::size_t span) {
    return 24 + 6 * static_cast<int>(std::min<std::size_t>(span, 20));
  };
  const int total_width = kLeft + width + reach(arcs) + 12;
  const int height = kTop + kStep * (static_cast<int>(structure.rows.size()) + 1) + 10;
  const auto y_of = [&](int row) { return kTop + kStep * (row + 1); };  // the input is row -1
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" font-family=\"ui-monospace, monospace\" font-size=\"12\" role=\"img\" "
      "aria-label=\"the model's nodes, coloured by {2}\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n"
      "<text x=\"{3}\" y=\"24\" fill=\"#111111\">coloured by {2}, dark: {4}</text>\n",
      total_width, height, colour_by, kLeft,
      colour_by.ends_with("seconds") ? fmt::format("{:.3f} ms", 1e3 * largest) : grouped(largest));
  svg += fmt::format(
      "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"4\" fill=\"#ffffff\" "
      "stroke=\"#888888\"/><text x=\"{}\" y=\"{}\" fill=\"#111111\">input</text>\n",
      kLeft, y_of(-1), width, kHeight, kLeft + 8, y_of(-1) + 17);
  for (std::size_t i = 0; i < structure.rows.size(); ++i) {
    const StructureRow& row = structure.rows[i];
    const int y = y_of(static_cast<int>(i));
    const Paint p = paint(column(row, colour_by), largest);
    svg += fmt::format(
        "<g><title>{} {}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"4\" "
        "fill=\"{}\" stroke=\"#888888\"/><text x=\"{}\" y=\"{}\" fill=\"{}\">{}</text>"
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"{}\">{}</text></g>\n",
        escaped(row.op), escaped(row.attributes), kLeft, y, width, kHeight, p.fill, kLeft + 8,
        y + 17, p.ink, escaped(title(row)), kLeft + width - 8, y + 17, p.ink,
        value_text(row, colour_by));
    for (int input : row.inputs) {
      const int from = y_of(input) + kHeight;
      if (input == static_cast<int>(i) - 1) {
        svg += fmt::format("<path d=\"M{0} {1}V{2}\" stroke=\"#888888\"/>\n", kLeft + width / 2,
                           from, y);
        continue;
      }
      const int right = kLeft + width;
      const int bend = right + reach(i - static_cast<std::size_t>(std::max(input, 0)));
      svg +=
          fmt::format("<path d=\"M{} {}C{} {} {} {} {} {}\" fill=\"none\" stroke=\"#888888\"/>\n",
                      right, from - kHeight / 2, bend, from - kHeight / 2, bend, y + kHeight / 2,
                      right, y + kHeight / 2);
    }
  }
  return svg + "</svg>\n";
}

std::string diff(const Structure& before, const Structure& after) {
  std::map<std::string, const StructureRow*> old;
  for (const StructureRow& row : before.rows) old[row.path] = &row;
  const auto describe_row = [](const StructureRow& row) {
    return fmt::format("{} {} {} parameters, {} MACs", row.op, to_string(row.output.shape),
                       grouped(static_cast<double>(row.parameters + row.frozen)),
                       grouped(row.macs));
  };
  std::string text;
  for (const StructureRow& row : after.rows) {
    const auto it = old.find(row.path);
    if (it == old.end()) {
      text += fmt::format("+ {}: {}\n", row.path, describe_row(row));
      continue;
    }
    const StructureRow& was = *it->second;
    const std::string a = describe_row(was), b = describe_row(row);
    if (a != b) {
      text += fmt::format("~ {}: {}  ->  {}\n", row.path, a, b);
    } else if (was.attributes != row.attributes) {
      text += fmt::format("~ {}: {}  ->  {}\n", row.path, was.attributes, row.attributes);
    }
    old.erase(it);
  }
  for (const StructureRow& row : before.rows) {
    if (old.contains(row.path)) text += fmt::format("- {}: {}\n", row.path, describe_row(row));
  }
  if (text.empty() && before.hash == after.hash) return "";
  const auto total = [&](std::string_view name, double a, double b) {
    text += fmt::format("{:<13} {:>16} -> {:>16}  ({:+.1f} %)\n", name, grouped(a), grouped(b),
                        a != 0 ? 100 * (b - a) / a : 0.0);
  };
  text += '\n';
  for (const char* name : {"parameters", "macs", "output_bytes", "saved_bytes"}) {
    total(name, column(before.totals, name), column(after.totals, name));
  }
  return text;
}

}  // namespace tapescope::inspection
