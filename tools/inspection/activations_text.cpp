#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/inspection/activations.h"
#include "tools/inspection/inspection_json.h"

namespace tapescope::inspection {

std::string to_text(const std::vector<ActivationRow>& rows) {
  if (rows.empty()) return "this model has no activation functions\n";
  std::size_t width = 10;
  for (const ActivationRow& row : rows) width = std::max(width, row.path.size());
  std::string text = fmt::format(
      "{:<{}}  {:<14} {:>6} {:>9} {:>9} {:>6} {:>9} {:>9} {:>6} {:>6} {:>6} {:>9} {:>6} {:>7} "
      "{:>6}\n",
      "activation", width, "shape", "units", "mean in", "std in", "kurt.", "mean out", "std out",
      "zero%", "neg.%", "dead", "near-dead", "on", "satur.%", "eff.rk");
  for (const ActivationRow& row : rows) {
    text += fmt::format(
        "{:<{}}  {:<14} {:>6} {:>9.3g} {:>9.3g} {:>6.2f} {:>9.3g} {:>9.3g} {:>6.1f} {:>6.1f} "
        "{:>6} {:>9} {:>6} {:>7} {:>6.1f}{}\n",
        row.path, width, to_string(row.shape), row.units.size(), row.input.mean, row.input.std(),
        row.input.kurtosis(), row.output.mean, row.output.std(), 100 * row.zero_fraction,
        100 * row.negative_fraction, row.dead, row.near_dead, row.always_on,
        row.op == "sigmoid" || row.op == "tanh"
            ? fmt::format("{:.1f}", 100 * row.saturated_fraction)
            : "",
        row.effective_rank,
        row.input.not_finite > 0 ? fmt::format("  NOT FINITE: {}", row.input.not_finite) : "");
  }
  return text +
         "\ndead: units that never answered (relu) or are saturated everywhere (sigmoid, tanh); "
         "near-dead: in less than\na thousandth of the places; on: relu units that are never off. "
         "satur.: where the slope is below 5 % of the\nsteepest. eff.rk: effective rank of the "
         "units' covariance.\n";
}

std::string to_json(const std::vector<ActivationRow>& rows, bool units) {
  using Json = nlohmann::ordered_json;
  const auto moments = [](const Moments& m) {
    return Json{{"mean", m.mean},
                {"std", m.std()},
                {"kurtosis", m.kurtosis()},
                {"not_finite", m.not_finite}};
  };
  Json list = Json::array();
  for (const ActivationRow& row : rows) {
    Json shape = Json::array();
    for (std::int64_t extent : row.shape) shape.push_back(extent);
    Json json = {{"path", row.path},
                 {"op", row.op},
                 {"shape", shape},
                 {"units", row.units.size()},
                 {"input", moments(row.input)},
                 {"output", moments(row.output)},
                 {"zero_fraction", row.zero_fraction},
                 {"negative_fraction", row.negative_fraction},
                 {"saturated_fraction", row.saturated_fraction},
                 {"dead", row.dead},
                 {"near_dead", row.near_dead},
                 {"always_on", row.always_on},
                 {"effective_rank", row.effective_rank},
                 {"histogram", histogram_json(row.histogram)},
                 {"curve", {{"x", row.curve_x}, {"y", row.curve_y}, {"slope", row.curve_slope}}}};
    if (units) {
      Json unit_list = Json::array();
      for (const UnitRow& unit : row.units) {
        Json top = Json::array();
        for (const TopImage& image : unit.top) {
          top.push_back({{"index", image.index}, {"value", image.value}});
        }
        unit_list.push_back({{"min", unit.min},
                             {"max", unit.max},
                             {"active", unit.active},
                             {"saturated", unit.saturated},
                             {"top", top}});
      }
      json["unit_rows"] = unit_list;
    }
    list.push_back(std::move(json));
  }
  return Json{{"activations", list}}.dump(2);
}

std::string curve_svg(const ActivationRow& row) {
  constexpr double kWidth = 320, kHeight = 200, kLeft = 40, kRight = 310, kTop = 24, kBottom = 170;
  const double x0 = row.curve_x.front(), x1 = row.curve_x.back();
  double y0 = 0, y1 = 1;
  for (std::size_t i = 0; i < row.curve_x.size(); ++i) {
    y0 = std::min({y0, row.curve_y[i], row.curve_slope[i]});
    y1 = std::max({y1, row.curve_y[i], row.curve_slope[i]});
  }
  const auto px = [&](double x) { return kLeft + (x - x0) / (x1 - x0) * (kRight - kLeft); };
  const auto py = [&](double y) { return kBottom - (y - y0) / (y1 - y0) * (kBottom - kTop); };
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" font-family=\"sans-serif\" font-size=\"11\" role=\"img\" "
      "aria-label=\"{2}: the function, its slope and the distribution of its input\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n<text x=\"8\" y=\"15\" "
      "fill=\"#111111\">{2}</text>\n",
      kWidth, kHeight, row.path);
  const std::int64_t most = std::max<std::int64_t>(
      1, row.histogram.counts.empty()
             ? 1
             : *std::max_element(row.histogram.counts.begin(), row.histogram.counts.end()));
  const double bin = (row.histogram.high - row.histogram.low) /
                     static_cast<double>(std::max<std::size_t>(1, row.histogram.counts.size()));
  for (std::size_t i = 0; i < row.histogram.counts.size(); ++i) {
    const double left = row.histogram.low + bin * static_cast<double>(i);
    const double height =
        static_cast<double>(row.histogram.counts[i]) / static_cast<double>(most) * (kBottom - kTop);
    svg += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
        "fill=\"#c9d3e0\"/>\n",
        px(left), kBottom - height, std::max(0.5, px(left + bin) - px(left)), height);
  }
  svg +=
      fmt::format("<path d=\"M{0} {1}H{2}M{3:.1f} {4}V{1}\" stroke=\"#888888\" fill=\"none\"/>\n",
                  kLeft, py(0), kRight, px(0), kTop);
  const auto line = [&](const std::vector<double>& y, const char* colour, const char* dash) {
    std::string path;
    for (std::size_t i = 0; i < y.size(); ++i) {
      path += fmt::format("{}{:.1f} {:.1f}", i == 0 ? "M" : "L", px(row.curve_x[i]), py(y[i]));
    }
    svg += fmt::format("<path d=\"{}\" stroke=\"{}\" stroke-width=\"2\" fill=\"none\"{}/>\n", path,
                       colour, dash);
  };
  line(row.curve_y, "#b3261e", "");
  line(row.curve_slope, "#1a56a8", " stroke-dasharray=\"5 3\"");
  svg += fmt::format(
      "<text x=\"{}\" y=\"{}\" fill=\"#333333\">{:.3g}</text><text x=\"{}\" y=\"{}\" "
      "text-anchor=\"end\" fill=\"#333333\">{:.3g}</text>"
      "<text x=\"4\" y=\"{}\" fill=\"#333333\">{:.3g}</text>"
      "<text x=\"{}\" y=\"{}\" fill=\"#b3261e\">s(z)</text>"
      "<text x=\"{}\" y=\"{}\" fill=\"#1a56a8\">s'(z)</text>"
      "<text x=\"{}\" y=\"{}\" fill=\"#5b6b80\">z seen</text></svg>\n",
      kLeft, kBottom + 14, x0, kRight, kBottom + 14, x1, kTop + 8, y1, 90, kBottom + 26, 140,
      kBottom + 26, 190, kBottom + 26);
  return svg;
}

}  // namespace tapescope::inspection
