// Numbers as colours, and maps laid over pictures.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "tools/data/image.h"
#include "tools/report/text.h"

namespace tapescope {

// A map of numbers: f32 {height, width}, row-major.
struct Map {
  int height = 0;
  int width = 0;
  std::vector<float> values;

  Map() = default;
  // Throws a usage error where the number of values is another one.
  Map(int height, int width, std::span<const float> values);
};

// For signed maps: blue below, red above, and zero always the same light grey, so that maps of
// different pictures can be compared. Lightness falls alike on both sides.
Color diverging_color(double t);  // t in [-1, 1]
// For maps without a sign: dark violet over green to light yellow, lightness rising evenly, which
// survives grey printing and common colour blindness.
Color sequential_color(double t);  // t in [0, 1]

enum class Colors { diverging, sequential };

// What number the ends of the colours stand for.
struct Range {
  float low = 0;
  float high = 0;
};
// diverging: [-a, a] with a the largest absolute value; sequential: smallest to largest. Numbers
// that are not finite play no part.
Range range_of(const Map& map, Colors colors);

// Values outside the range take the end's colour; not-a-number is shown in magenta, which neither
// set of colours holds.
Image colorize(const Map& map, Colors colors, std::optional<Range> range = {});

// Bilinear between pixel centres, edges repeated: the usual way to bring a feature map to the
// picture's size.
Map upsample(const Map& map, int height, int width);

// (1 - opacity) * picture + opacity * colours. Grey pictures become three equal channels. Throws a
// usage error where the sizes differ or the opacity is not in [0, 1].
Image overlay(const Image& picture, const Image& colors, double opacity = 0.5);
// The map over the grey version of the picture, each pixel as opaque as its value is large, up to
// `opacity`: where the map is near zero the picture shows through. The map is upsampled as needed.
Image overlay(const Image& picture, const Map& map, Colors colors, std::optional<Range> range = {},
              double opacity = 0.75);

// The picture with a bar of the colours on its right and the range's ends written beside it (and
// zero, for diverging colours).
Image with_color_bar(const Image& picture, Colors colors, Range range);

}  // namespace tapescope
