#include "kernels/conv2d/depthwise_simd.h"

#include <algorithm>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/conv2d/simd.h"

namespace tapescope::depthwise {
namespace {

constexpr std::int64_t kMostTaps = 169;  // 13 x 13
// Channels that a chunk of the weight gradient sums: four of the widest vectors.
constexpr std::int64_t kBlock = 64;

std::int64_t taps_of(const Conv2dShape& c) { return c.KH * c.KW; }

// w {C, taps} to {taps, C}: a tap's channels side by side.
void pack(const Conv2dShape& c, const float* w, float* packed) {
  const std::int64_t taps = taps_of(c);
  for (std::int64_t t = 0; t < taps; ++t) {
    for (std::int64_t k = 0; k < c.I; ++k) packed[t * c.I + k] = w[k * taps + t];
  }
}
std::size_t packed_bytes(const Conv2dShape& c) {
  return static_cast<std::size_t>(taps_of(c) * c.I) * sizeof(float);
}

// The pixels that one result is a sum of, and the weights they are multiplied with.
struct Taps {
  const float *x[kMostTaps], *w[kMostTaps];
  std::int64_t count = 0;
  void add(const float* pixel, const float* weights) {
    x[count] = pixel;
    w[count++] = weights;
  }
};

// The output position which tap k reads from input position `at`; -1: none.
std::int64_t reader(std::int64_t at, std::int64_t k, std::int64_t stride, std::int64_t pad,
                    std::int64_t dilation, std::int64_t outputs) {
  const std::int64_t up = at + pad - k * dilation;
  return up >= 0 && up % stride == 0 && up / stride < outputs ? up / stride : -1;
}

void forward_pixel(const Conv2dShape& c, const float* image, const float* packed, std::int64_t p,
                   std::int64_t q, Taps& taps) {
  for (std::int64_t r = 0; r < c.KH; ++r) {
    const std::int64_t h = p * c.stride_h - c.pad_h + r * c.dilation_h;
    if (h < 0 || h >= c.H) continue;
    for (std::int64_t s = 0; s < c.KW; ++s) {
      const std::int64_t v = q * c.stride_w - c.pad_w + s * c.dilation_w;
      if (v < 0 || v >= c.W) continue;
      taps.add(image + (h * c.W + v) * c.I, packed + (r * c.KW + s) * c.I);
    }
  }
}

void gradient_pixel(const Conv2dShape& c, const float* image, const float* packed, std::int64_t h,
                    std::int64_t v, Taps& taps) {
  for (std::int64_t r = 0; r < c.KH; ++r) {
    const std::int64_t p = reader(h, r, c.stride_h, c.pad_h, c.dilation_h, c.P());
    if (p < 0) continue;
    for (std::int64_t s = 0; s < c.KW; ++s) {
      const std::int64_t q = reader(v, s, c.stride_w, c.pad_w, c.dilation_w, c.Q());
      if (q < 0) continue;
      taps.add(image + (p * c.Q() + q) * c.I, packed + (r * c.KW + s) * c.I);
    }
  }
}

struct Sizes {
  std::int64_t rows, columns;
};

// y {N, to}: each pixel from the taps that collect(c, image, packed, row, column, taps) finds in an
// image of x {N, from}.
template <class Collect>
Plan by_pixels(const Conv2dShape& c, Sizes from, Sizes to, Collect collect) {
  const auto kernel = TAPESCOPE_ISA_TABLE(depthwise_kernels).add_taps;
  return Plan("depthwise", packed_bytes(c), [=](const Queue&, const Buffers& b) {
    const auto* x = static_cast<const float*>(b.in[0]);
    const auto* bias = c.bias ? static_cast<const float*>(b.in[2]) : nullptr;
    auto* y = static_cast<float*>(b.out[0]);
    auto* packed = static_cast<float*>(b.workspace);
    pack(c, static_cast<const float*>(b.in[1]), packed);
    parallel_for(c.N * to.rows, [&](std::int64_t row) {
      const float* image = x + row / to.rows * from.rows * from.columns * c.I;
      for (std::int64_t column = 0; column < to.columns; ++column) {
        Taps taps;
        collect(c, image, packed, row % to.rows, column, taps);
        kernel(c.I, taps.count, taps.x, taps.w, bias, y + (row * to.columns + column) * c.I);
      }
    });
  });
}

// The q whose tap s lies inside the row: [begin, end).
struct Range {
  std::int64_t begin, end;
};
Range inside(const Conv2dShape& c, std::int64_t s) {
  const std::int64_t first = s * c.dilation_w - c.pad_w;  // of x, for q = 0
  const std::int64_t begin = first >= 0 ? 0 : (-first + c.stride_w - 1) / c.stride_w;
  const std::int64_t last = c.W - 1 - first;
  return {begin, last < 0 ? 0 : std::min(c.Q(), last / c.stride_w + 1)};
}

}  // namespace

bool supports(const Conv2dShape& c) {
  return c.groups > 1 && c.groups == c.I && c.groups == c.O && taps_of(c) <= kMostTaps;
}

Plan conv2d(const Conv2dShape& c) {
  return by_pixels(c, {c.H, c.W}, {c.P(), c.Q()}, forward_pixel);
}

Plan conv2d_data_gradient(const Conv2dShape& c) {
  return by_pixels(c, {c.P(), c.Q()}, {c.H, c.W}, gradient_pixel);
}

// A chunk sums one tap of a block of channels over all pixels, row by row.
Plan conv2d_weight_gradient(const Conv2dShape& c) {
  const auto kernel = TAPESCOPE_ISA_TABLE(depthwise_kernels).add_products;
  return Plan("depthwise", 0, [c, kernel](const Queue&, const Buffers& b) {
    const auto* x = static_cast<const float*>(b.in[0]);
    const auto* dy = static_cast<const float*>(b.in[1]);
    auto* dw = static_cast<float*>(b.out[0]);
    const std::int64_t taps = taps_of(c), blocks = (c.I + kBlock - 1) / kBlock;
    parallel_for(blocks * taps, [&](std::int64_t chunk) {
      const std::int64_t tap = chunk % taps, r = tap / c.KW, s = tap % c.KW;
      const std::int64_t first = chunk / taps * kBlock, channels = std::min(kBlock, c.I - first);
      const auto [begin, end] = inside(c, s);
      float sums[kBlock] = {};
      for (std::int64_t np = 0; begin < end && np < c.N * c.P(); ++np) {
        const std::int64_t h = np % c.P() * c.stride_h - c.pad_h + r * c.dilation_h;
        if (h < 0 || h >= c.H) continue;
        const std::int64_t v = begin * c.stride_w - c.pad_w + s * c.dilation_w;
        kernel(channels, end - begin, x + ((np / c.P() * c.H + h) * c.W + v) * c.I + first,
               c.stride_w * c.I, dy + (np * c.Q() + begin) * c.I + first, c.I, sums);
      }
      for (std::int64_t k = 0; k < channels; ++k) dw[(first + k) * taps + tap] = sums[k];
    });
  });
}

}  // namespace tapescope::depthwise
