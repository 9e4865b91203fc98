#include "tools/page/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "tools/data/resize.h"
#include "tools/report/png.h"

// The files become part of the program: their bytes lie between two symbols.
#define TAPESCOPE_EMBED(name, path)                                                    \
  __asm__(".pushsection .rodata\n.global tapescope_" #name                             \
          "_begin\n"                                                                   \
          "tapescope_" #name "_begin:\n.incbin \"" path "\"\n.global tapescope_" #name \
          "_end\ntapescope_" #name "_end:\n.byte 0\n.popsection\n");                   \
  extern "C" const char tapescope_##name##_begin[];                                    \
  extern "C" const char tapescope_##name##_end[]

TAPESCOPE_EMBED(html, TAPESCOPE_PAGE_FOLDER "/report.html");
TAPESCOPE_EMBED(css, TAPESCOPE_PAGE_FOLDER "/report.css");
TAPESCOPE_EMBED(js, TAPESCOPE_PAGE_FOLDER "/report.js");
TAPESCOPE_EMBED(js_classification, TAPESCOPE_PAGE_FOLDER "/report_classification.js");
TAPESCOPE_EMBED(js_detection, TAPESCOPE_PAGE_FOLDER "/report_detection.js");
TAPESCOPE_EMBED(js_last, TAPESCOPE_PAGE_FOLDER "/report_last.js");
TAPESCOPE_EMBED(chart, TAPESCOPE_CHART_JS);

namespace tapescope::page {
namespace {

std::string_view between(const char* begin, const char* end) {
  return {begin, static_cast<std::size_t>(end - begin)};
}

void replace(std::string& text, std::string_view what, std::string_view with) {
  const std::size_t at = text.find(what);
  if (at != std::string::npos) text.replace(at, what.size(), with);
}

// Nothing in a script element may close it.
std::string inside_script(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (text[i] == '<' && i + 1 < text.size() && (text[i + 1] == '/' || text[i + 1] == '!')) {
      out += '\\';
    }
  }
  return out;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

Image reduced(const Image& image, int most) {
  const int longer = std::max(image.height, image.width);
  if (longer <= most) return image;
  const double scale = static_cast<double>(most) / longer;
  const auto size = [&](int extent) {
    return std::max(1, static_cast<int>(std::lround(extent * scale)));
  };
  return resize_bilinear(image, size(image.height), size(image.width));
}

}  // namespace

std::string assemble(const std::string& title, const std::string& json) {
  std::string page(between(tapescope_html_begin, tapescope_html_end));
  replace(page, "{{title}}", escaped(title));
  replace(page, "{{heading}}", escaped(title));
  replace(page, "{{css}}", between(tapescope_css_begin, tapescope_css_end));
  // Strings are the only place where JSON has a '<'.
  std::string data;
  for (char c : json) {
    if (c == '<') {
      data += "\\u003c";
    } else {
      data += c;
    }
  }
  replace(page, "{{data}}", data);
  replace(page, "{{chart}}", inside_script(between(tapescope_chart_begin, tapescope_chart_end)));
  std::string code;  // one script: the later parts use what the first defines
  code += between(tapescope_js_begin, tapescope_js_end);
  code += between(tapescope_js_classification_begin, tapescope_js_classification_end);
  code += between(tapescope_js_detection_begin, tapescope_js_detection_end);
  code += between(tapescope_js_last_begin, tapescope_js_last_end);
  replace(page, "{{js}}", code);
  return page;
}

std::string base64(std::span<const std::uint8_t> bytes) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t word = static_cast<std::uint32_t>(bytes[i]) << 16;
    if (left > 1) word |= static_cast<std::uint32_t>(bytes[i + 1]) << 8;
    if (left > 2) word |= bytes[i + 2];
    out += kAlphabet[word >> 18 & 63];
    out += kAlphabet[word >> 12 & 63];
    out += left > 1 ? kAlphabet[word >> 6 & 63] : '=';
    out += left > 2 ? kAlphabet[word & 63] : '=';
  }
  return out;
}

std::string picture_uri(const Image& image, int most) {
  return "data:image/png;base64," + base64(encode_png(reduced(image, most)));
}

PackedMap packed(const Map& map, int most) {
  PackedMap result;
  const int step = std::max(1, (std::max(map.height, map.width) + most - 1) / most);
  result.height = (map.height + step - 1) / step;
  result.width = (map.width + step - 1) / step;
  std::vector<double> means;
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x) {
      double sum = 0, count = 0;
      for (int yy = y * step; yy < std::min(map.height, (y + 1) * step); ++yy) {
        for (int xx = x * step; xx < std::min(map.width, (x + 1) * step); ++xx) {
          const float v =
              map.values[static_cast<std::size_t>(yy) * static_cast<std::size_t>(map.width) +
                         static_cast<std::size_t>(xx)];
          if (!std::isfinite(v)) continue;
          sum += v;
          ++count;
        }
      }
      means.push_back(count > 0 ? sum / count : 0);
      result.scale = std::max(result.scale, std::abs(means.back()));
    }
  }
  std::vector<std::uint8_t> bytes;
  for (double mean : means) {
    const auto q =
        static_cast<std::int16_t>(result.scale > 0 ? std::lround(mean / result.scale * 32767) : 0);
    bytes.push_back(static_cast<std::uint8_t>(static_cast<std::uint16_t>(q) & 0xff));
    bytes.push_back(static_cast<std::uint8_t>(static_cast<std::uint16_t>(q) >> 8));
  }
  result.values = base64(bytes);
  return result;
}

std::string colour_table(Colors colors) {
  std::string table;
  for (int i = 0; i < 256; ++i) {
    const double t = i / 255.0;
    const Color c = colors == Colors::diverging ? diverging_color(2 * t - 1) : sequential_color(t);
    table += fmt::format("{:02x}{:02x}{:02x}", c[0], c[1], c[2]);
  }
  return table;
}

}  // namespace tapescope::page
