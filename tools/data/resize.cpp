#include "tools/data/resize.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "engine/isa.h"
#include "tools/data/simd.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

struct Weights {
  int most = 0;
  std::vector<int> first;
  std::vector<int> count;
  std::vector<std::int32_t> weight;
  ResizeTaps taps() const { return {first.data(), count.data(), weight.data(), most}; }
};

double triangle(double x) { return x < 1 ? 1 - x : 0; }
double cubic(double x) {
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

// As std::lround, of what is small enough, without a call.
std::int32_t rounded(double v) {
  const auto whole = static_cast<std::int32_t>(v);
  const double rest = v - whole;
  return whole + (rest >= 0.5 ? 1 : rest <= -0.5 ? -1 : 0);
}

// Of outputs [begin, end) among `out`.
Weights filter_weights(int in, int out, Interpolation interpolation, int begin, int end) {
  const bool wide = interpolation == Interpolation::bicubic;
  const double scale = static_cast<double>(in) / out;
  const double stretch = std::max(scale, 1.0);
  const double reach = stretch * (wide ? 2 : 1);
  Weights weights;
  weights.most = static_cast<int>(std::ceil(reach)) * 2 + 1;
  const auto most = static_cast<std::size_t>(weights.most);
  weights.weight.assign(static_cast<std::size_t>(end - begin) * most, 0);
  std::vector<double> exact(most);
  for (int i = begin; i < end; ++i) {
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
    weights.first.push_back(first);
    weights.count.push_back(last - first);
    std::int32_t* weight = &weights.weight[static_cast<std::size_t>(i - begin) * most];
    for (int k = 0; k < last - first; ++k) {
      weight[k] = rounded(exact[static_cast<std::size_t>(k)] / sum * (1 << kWeightBits));
    }
  }
  return weights;
}

// Rows [begin, end) of a picture, which is itself where its columns stay as they are.
struct Rows {
  const std::uint8_t* pixels;  // of the first one
  std::ptrdiff_t stride;
  Image store;
};

// Columns [part.left, + part.width) of `width`.
Rows narrowed(const ImageView& source, std::ptrdiff_t stride, int begin, int end, int width,
              Interpolation interpolation, const ImagePart& part) {
  const int channels = source.channels;
  const std::uint8_t* from = source.pixels + begin * stride;
  if (width == source.width) return {from + part.left * channels, stride, {}};
  const Weights weights =
      filter_weights(source.width, width, interpolation, part.left, part.left + part.width);
  thread_local std::vector<std::uint8_t> scratch;
  scratch.resize(static_cast<std::size_t>(source.width) * kLanes);
  Rows rows{nullptr, std::ptrdiff_t{part.width} * channels,
            Image(end - begin, part.width, channels)};
  TAPESCOPE_ISA_TABLE(resize_kernels)
      .columns(from, stride, end - begin, channels, weights.taps(), part.width, scratch.data(),
               rows.store.pixels.data());
  rows.pixels = rows.store.pixels.data();
  return rows;
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
                    Interpolation interpolation, const ImagePart& part) {
  if (height < 1 || width < 1 || source.height < 1 || source.width < 1) {
    throw usage_error("[resize] from {} x {} to {} x {} pixels is impossible; sizes start at 1",
                      source.height, source.width, height, width);
  }
  const int channels = source.channels;
  const int bytes = part.width * channels;
  Image out(part.height, part.width, channels);
  // Columns first, then rows, as Pillow does: the order shows in the rounding between them.
  if (height == source.height) {
    const Rows rows =
        narrowed(source, row_stride, part.top, part.top + part.height, width, interpolation, part);
    for (int y = 0; y < part.height; ++y) {
      std::copy_n(rows.pixels + y * rows.stride, bytes, out.at(y, 0));
    }
    return out;
  }
  const Weights weights =
      filter_weights(source.height, height, interpolation, part.top, part.top + part.height);
  const int begin = weights.first.front(), end = weights.first.back() + weights.count.back();
  const Rows rows = narrowed(source, row_stride, begin, end, width, interpolation, part);
  const ResizeKernels& kernels = TAPESCOPE_ISA_TABLE(resize_kernels);
  for (int y = 0; y < part.height; ++y) {
    const auto i = static_cast<std::size_t>(y);
    kernels.rows(rows.pixels + (weights.first[i] - begin) * rows.stride, rows.stride,
                 &weights.weight[i * static_cast<std::size_t>(weights.most)], weights.count[i],
                 bytes, out.at(y, 0));
  }
  return out;
}

Image resized_image(const ImageView& source, std::ptrdiff_t row_stride, int height, int width,
                    Interpolation interpolation) {
  return resized_image(source, row_stride, height, width, interpolation, {0, 0, height, width});
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
