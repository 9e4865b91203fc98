#include "tools/data/resize.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

constexpr int kBits = 22;  // a product of weight and pixel still fits 32 bits

// Output i is the sum over k < count[i] of weight[i * most + k] * input[first[i] + k].
struct Weights {
  int most = 0;
  std::vector<int> first;
  std::vector<int> count;
  std::vector<std::int32_t> weight;
};

double triangle(double x) { return x < 1 ? 1 - x : 0; }
double cubic(double x) {
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

Weights filter_weights(int in, int out, Interpolation interpolation) {
  const bool wide = interpolation == Interpolation::bicubic;
  const double scale = static_cast<double>(in) / out;
  const double stretch = std::max(scale, 1.0);
  const double reach = stretch * (wide ? 2 : 1);
  Weights weights;
  weights.most = static_cast<int>(std::ceil(reach)) * 2 + 1;
  weights.first.resize(static_cast<std::size_t>(out));
  weights.count.resize(static_cast<std::size_t>(out));
  weights.weight.assign(static_cast<std::size_t>(out) * static_cast<std::size_t>(weights.most), 0);
  std::vector<double> exact(static_cast<std::size_t>(weights.most));
  for (int i = 0; i < out; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - reach + 0.5), 0);
    const int last = std::min(static_cast<int>(centre + reach + 0.5), in);
    double sum = 0;
    for (int k = first; k < last; ++k) {
      const double distance = std::abs((k - centre + 0.5) * (1.0 / stretch));
      const double w = wide ? cubic(distance) : triangle(distance);
      exact[static_cast<std::size_t>(k - first)] = w;
      sum += w;
    }
    weights.first[static_cast<std::size_t>(i)] = first;
    weights.count[static_cast<std::size_t>(i)] = last - first;
    for (int k = 0; k < last - first; ++k) {
      const double w = exact[static_cast<std::size_t>(k)] / sum;
      weights.weight[static_cast<std::size_t>(i) * static_cast<std::size_t>(weights.most) +
                     static_cast<std::size_t>(k)] =
          static_cast<std::int32_t>(std::lround(w * (1 << kBits)));
    }
  }
  return weights;
}

std::uint8_t to_pixel(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kBits, 0, 255));
}

// in: u8 {width_in, C}; out: u8 {width_out, C}
template <int C>
void resize_row(const std::uint8_t* in, const Weights& weights, int width, std::uint8_t* out) {
  for (int x = 0; x < width; ++x) {
    const std::uint8_t* p = in + weights.first[static_cast<std::size_t>(x)] * C;
    const std::int32_t* w = &weights.weight[static_cast<std::size_t>(x * weights.most)];
    std::int32_t sum[C];
    for (int c = 0; c < C; ++c) sum[c] = 1 << (kBits - 1);
    for (int k = 0; k < weights.count[static_cast<std::size_t>(x)]; ++k) {
      for (int c = 0; c < C; ++c) sum[c] += w[k] * p[k * C + c];
    }
    for (int c = 0; c < C; ++c) out[x * C + c] = to_pixel(sum[c]);
  }
}

}  // namespace

const char* name_of(Interpolation interpolation) {
  return interpolation == Interpolation::bicubic ? "bicubic" : "bilinear";
}

Interpolation interpolation_from(const std::string& name) {
  for (const Interpolation known : {Interpolation::bilinear, Interpolation::bicubic}) {
    if (name == name_of(known)) return known;
  }
  throw usage_error("the interpolation is '{}'; it must be bilinear or bicubic", printable(name));
}

Image resized_image(const ImageView& source, std::ptrdiff_t row_stride, int height, int width,
                    Interpolation interpolation) {
  if (height < 1 || width < 1 || source.height < 1 || source.width < 1) {
    throw usage_error("[resize] from {} x {} to {} x {} pixels is impossible; sizes start at 1",
                      source.height, source.width, height, width);
  }
  const int channels = source.channels;
  // Columns first, then rows, as Pillow does: the order shows in the rounding between them.
  Image narrow(source.height, width, channels);
  if (width == source.width) {
    for (int y = 0; y < source.height; ++y) {
      std::copy_n(source.pixels + y * row_stride, width * channels, narrow.at(y, 0));
    }
  } else {
    const Weights weights = filter_weights(source.width, width, interpolation);
    for (int y = 0; y < source.height; ++y) {
      const std::uint8_t* row = source.pixels + y * row_stride;
      if (channels == 1) {
        resize_row<1>(row, weights, width, narrow.at(y, 0));
      } else {
        resize_row<3>(row, weights, width, narrow.at(y, 0));
      }
    }
  }
  if (height == source.height) return narrow;

  const Weights weights = filter_weights(source.height, height, interpolation);
  Image out(height, width, channels);
  const int row = width * channels;
  std::vector<std::int32_t> sum(static_cast<std::size_t>(row));
  for (int y = 0; y < height; ++y) {
    std::fill(sum.begin(), sum.end(), 1 << (kBits - 1));
    const int first = weights.first[static_cast<std::size_t>(y)];
    for (int k = 0; k < weights.count[static_cast<std::size_t>(y)]; ++k) {
      const std::int32_t w = weights.weight[static_cast<std::size_t>(y * weights.most + k)];
      const std::uint8_t* p = narrow.at(first + k, 0);
      std::int32_t* s = sum.data();
      for (int i = 0; i < row; ++i) s[i] += w * p[i];
    }
    std::uint8_t* to = out.at(y, 0);
    for (int i = 0; i < row; ++i) to[i] = to_pixel(sum[static_cast<std::size_t>(i)]);
  }
  return out;
}

Image resized_image(const Image& source, int height, int width, Interpolation interpolation) {
  return resized_image(view_of(source), std::ptrdiff_t{source.width} * source.channels, height,
                       width, interpolation);
}

Image resize_bilinear(const ImageView& source, std::ptrdiff_t row_stride, int height, int width) {
  return resized_image(source, row_stride, height, width, Interpolation::bilinear);
}

Image resize_bilinear(const Image& source, int height, int width) {
  return resized_image(source, height, width, Interpolation::bilinear);
}

}  // namespace tapescope
