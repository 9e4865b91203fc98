#include "tools/report/colormap.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/error.h"

namespace tapescope {
namespace {

constexpr Color kNotANumber = {255, 0, 255};

// Oklab, a space in which equal steps look equal (Ottosson, "A perceptual color space for image
// processing", 2020), to linear sRGB.
struct Linear {
  double red, green, blue;
};
Linear from_oklab(double lightness, double a, double b) {
  const auto cube = [](double x) { return x * x * x; };
  const double l = cube(lightness + 0.3963377774 * a + 0.2158037573 * b);
  const double m = cube(lightness - 0.1055613458 * a - 0.0638541728 * b);
  const double s = cube(lightness - 0.0894841775 * a - 1.2914855480 * b);
  return {4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
          -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
          -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s};
}

bool shown(const Linear& c) {
  const auto fits = [](double x) { return x >= -1e-4 && x <= 1 + 1e-4; };
  return fits(c.red) && fits(c.green) && fits(c.blue);
}

std::uint8_t encode(double linear) {
  const double x = std::clamp(linear, 0.0, 1.0);
  const double gamma = x <= 0.0031308 ? 12.92 * x : 1.055 * std::pow(x, 1 / 2.4) - 0.055;
  return static_cast<std::uint8_t>(std::lround(gamma * 255));
}

// Lightness, chroma and hue (degrees); chroma is lowered until a screen can show the colour.
Color from_oklch(double lightness, double chroma, double hue) {
  const double angle = hue * std::numbers::pi / 180;
  const auto at = [&](double c) {
    return from_oklab(lightness, c * std::cos(angle), c * std::sin(angle));
  };
  if (!shown(at(chroma))) {
    double low = 0;
    double high = chroma;
    for (int i = 0; i < 30; ++i) {
      const double middle = (low + high) / 2;
      (shown(at(middle)) ? low : high) = middle;
    }
    chroma = low;
  }
  const Linear c = at(chroma);
  return {encode(c.red), encode(c.green), encode(c.blue)};
}

constexpr int kSteps = 511;  // odd: the middle is a step of its own
using Table = std::array<Color, kSteps>;

// Both tables follow smooth paths that stay inside what a screen can show: a path cut off at the
// border has kinks, which the eye takes for edges in the map.
Table make_diverging() {
  Table table;
  for (int i = 0; i < kSteps; ++i) {
    const double t = (2.0 * i - (kSteps - 1)) / (kSteps - 1);
    const double size = std::abs(t);
    const double chroma = 0.26 * size - 0.07 * size * size;
    table[static_cast<std::size_t>(i)] = from_oklch(0.97 - 0.5 * size, chroma, t < 0 ? 262 : 27);
  }
  return table;
}

Table make_sequential() {
  Table table;
  for (int i = 0; i < kSteps; ++i) {
    const double t = static_cast<double>(i) / (kSteps - 1);
    const double from_middle = 2 * t - 1;  // greens and blues between have the least chroma to give
    const double chroma = 0.098 + (t < 0.5 ? 0.03 : 0.095) * from_middle * from_middle;
    table[static_cast<std::size_t>(i)] = from_oklch(0.26 + 0.67 * t, chroma, 308 - 203 * t);
  }
  return table;
}

Color look_up(const Table& table, double t) {
  const double at = std::clamp(t, 0.0, 1.0) * (kSteps - 1);
  return table[static_cast<std::size_t>(std::lround(at))];
}

Color color_of(Colors colors, double t) {
  return colors == Colors::diverging ? diverging_color(2 * t - 1) : sequential_color(t);
}

// Where the value lies between the range's ends, 0 to 1. An empty range is its own middle.
double place(float value, Range range) {
  const double width = static_cast<double>(range.high) - range.low;
  return width > 0 ? (static_cast<double>(value) - range.low) / width : 0.5;
}

double luma(const std::uint8_t* p, int channels) {
  return channels == 1 ? p[0] : 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
}

std::uint8_t blend(double under, double over, double opacity) {
  return static_cast<std::uint8_t>(std::lround(under + (over - under) * opacity));
}

void check_opacity(double opacity) {
  if (!(opacity >= 0 && opacity <= 1)) {
    throw usage_error("an opacity of {} is impossible; it is from 0 to 1", opacity);
  }
}

}  // namespace

Map::Map(int height_, int width_, std::span<const float> values_)
    : height(height_), width(width_), values(values_.begin(), values_.end()) {
  if (height < 1 || width < 1 ||
      std::int64_t{height} * width != static_cast<std::int64_t>(values.size())) {
    throw usage_error("a map of {} x {} cannot be made of {} numbers", height, width,
                      values.size());
  }
}

Color diverging_color(double t) {
  static const Table table = make_diverging();
  return look_up(table, (t + 1) / 2);
}

Color sequential_color(double t) {
  static const Table table = make_sequential();
  return look_up(table, t);
}

Range range_of(const Map& map, Colors colors) {
  Range range;
  bool first = true;
  for (float value : map.values) {
    if (!std::isfinite(value)) continue;
    range.low = first ? value : std::min(range.low, value);
    range.high = first ? value : std::max(range.high, value);
    first = false;
  }
  if (colors == Colors::diverging) {
    const float largest = std::max(std::abs(range.low), std::abs(range.high));
    return {-largest, largest};
  }
  return range;
}

Image colorize(const Map& map, Colors colors, std::optional<Range> range) {
  const Range used = range ? *range : range_of(map, colors);
  Image image(map.height, map.width, 3);
  for (std::size_t i = 0; i < map.values.size(); ++i) {
    const float value = map.values[i];
    const Color color = std::isnan(value) ? kNotANumber : color_of(colors, place(value, used));
    std::copy(color.begin(), color.end(), &image.pixels[i * 3]);
  }
  return image;
}

Map upsample(const Map& map, int height, int width) {
  if (height < 1 || width < 1 || map.values.empty()) {
    throw usage_error("a map of {} x {} cannot be brought to {} x {}; sizes start at 1", map.height,
                      map.width, height, width);
  }
  Map out;
  out.height = height;
  out.width = width;
  out.values.resize(static_cast<std::size_t>(height) * static_cast<std::size_t>(width));
  struct Neighbours {
    std::size_t first, second;
    float share;  // of the second
  };
  const auto neighbours = [](int i, int out_size, int in_size) {
    const double at = std::clamp((i + 0.5) * in_size / out_size - 0.5, 0.0, in_size - 1.0);
    const int first = std::min(static_cast<int>(at), in_size - 1);
    return Neighbours{static_cast<std::size_t>(first),
                      static_cast<std::size_t>(std::min(first + 1, in_size - 1)),
                      static_cast<float>(at - first)};
  };
  const auto in_width = static_cast<std::size_t>(map.width);
  for (int y = 0; y < height; ++y) {
    const Neighbours rows = neighbours(y, height, map.height);
    for (int x = 0; x < width; ++x) {
      const Neighbours columns = neighbours(x, width, map.width);
      const auto along = [&](std::size_t row) {
        const float a = map.values[row * in_width + columns.first];
        return a + columns.share * (map.values[row * in_width + columns.second] - a);
      };
      const float a = along(rows.first);
      out.values[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                 static_cast<std::size_t>(x)] = a + rows.share * (along(rows.second) - a);
    }
  }
  return out;
}

Image overlay(const Image& picture, const Image& colors, double opacity) {
  check_opacity(opacity);
  if (picture.height != colors.height || picture.width != colors.width || colors.channels != 3) {
    throw usage_error("a map of {} x {} cannot lie over a picture of {} x {}; upsample it first",
                      colors.height, colors.width, picture.height, picture.width);
  }
  Image out(picture.height, picture.width, 3);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        out.at(y, x)[c] =
            blend(picture.at(y, x)[picture.channels == 1 ? 0 : c], colors.at(y, x)[c], opacity);
      }
    }
  }
  return out;
}

Image overlay(const Image& picture, const Map& map, Colors colors, std::optional<Range> range,
              double opacity) {
  check_opacity(opacity);
  const Range used = range ? *range : range_of(map, colors);
  const Map full = upsample(map, picture.height, picture.width);
  const Image colored = colorize(full, colors, used);
  Image out(picture.height, picture.width, 3);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      const auto i = static_cast<std::size_t>(y) * static_cast<std::size_t>(out.width) +
                     static_cast<std::size_t>(x);
      // Paler than the picture itself, so that the map's colours stand out.
      const double grey = 96 + 0.62 * luma(picture.at(y, x), picture.channels);
      const double t = place(full.values[i], used);
      const double size = colors == Colors::diverging ? std::abs(2 * t - 1) : t;
      const double strength =
          std::isnan(full.values[i]) ? 1 : opacity * std::sqrt(std::clamp(size, 0.0, 1.0));
      for (int c = 0; c < 3; ++c) {
        out.at(y, x)[c] = blend(std::min(grey, 255.0), colored.at(y, x)[c], strength);
      }
    }
  }
  return out;
}

Image with_color_bar(const Image& picture, Colors colors, Range range) {
  const int scale = std::clamp(picture.height / 150, 1, 4);
  const int height = std::max(picture.height, 5 * kGlyphHeight * scale);
  const std::string high = short_number(range.high);
  const std::string low = short_number(range.low);
  const int gap = 4 * scale;
  const int bar = 10 * scale;
  const int words =
      std::max({text_width(high, scale), text_width(low, scale), text_width("0", scale)});
  Image out(height, picture.width + gap + bar + gap + words + gap, 3, 255);
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        out.at(y, x)[c] = picture.at(y, x)[picture.channels == 1 ? 0 : c];
      }
    }
  }
  const int left = picture.width + gap;
  const int top = 3 * scale;  // half a letter: the ends' words stay inside
  const int bottom = height - 1 - 3 * scale;
  for (int y = top; y <= bottom; ++y) {
    const Color color =
        color_of(colors, static_cast<double>(bottom - y) / std::max(1, bottom - top));
    for (int x = left; x < left + bar; ++x) std::copy(color.begin(), color.end(), out.at(y, x));
  }
  const Color ink = {40, 40, 40};
  const auto label = [&](int y, const std::string& text) {
    draw_text(out, y - 3 * scale, left + bar + gap, text, ink, scale);
  };
  label(top, high);
  label(bottom, low);
  if (colors == Colors::diverging) label((top + bottom) / 2, "0");
  return out;
}

}  // namespace tapescope
