#include "kernels/conv2d/few_channels.h"

#include <algorithm>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/conv2d/simd.h"

namespace tapescope::few_channels {
namespace {

constexpr std::int64_t kMostChannels = 4;
// KH * KW * I and O: what a tile of products and its operand may take of the first cache.
constexpr std::int64_t kMostTaps = 512, kMostOutputs = 1024;
constexpr std::int64_t kMostRows = 14;  // pixels of a tile
// Rows of dx made at a time. Outputs whose windows reach into two bands are computed for both.
constexpr std::int64_t kBand = 32;

std::int64_t blocks(std::int64_t count, std::int64_t size) { return (count + size - 1) / size; }

struct Problem {
  const WinogradKernels* multiplier;
  AddTaps add_taps;
  Conv2dShape c;
  std::int64_t taps() const { return c.KH * c.KW * c.I; }
  std::int64_t padded_taps() const { return blocks(taps(), multiplier->width) * multiplier->width; }
  // Taps of the panel that starts at tap t: two vectors, or the one that is left.
  std::int64_t panel(std::int64_t t) const {
    return std::min(multiplier->columns, padded_taps() - t);
  }
};

// w {O, taps} to u {panels, O, taps of the panel}, padded with zeros.
void pack_weights(const Problem& p, const float* w, float* u) {
  for (std::int64_t t = 0; t < p.padded_taps(); t += p.multiplier->columns) {
    const std::int64_t panel = p.panel(t), count = std::min(panel, p.taps() - t);
    for (std::int64_t o = 0; o < p.c.O; ++o, u += panel) {
      std::copy_n(w + o * p.taps() + t, count, u);
      std::fill(u + count, u + panel, 0.0f);
    }
  }
}

// Rows [begin, end) of one image's dx. Every element is summed in the order of outputs, wherever a
// band ends.
void run_band(const Problem& p, const float* dy, const float* u, float* dx, std::int64_t begin,
              std::int64_t end) {
  const Conv2dShape& c = p.c;
  const std::int64_t P = c.P(), Q = c.Q(), width = p.multiplier->width;
  const std::int64_t stride = p.padded_taps();
  std::fill(dx + begin * c.W * c.I, dx + end * c.W * c.I, 0.0f);
  alignas(64) float pixels[kMostRows * kMostOutputs];  // {O / width, rows, width}
  alignas(64) float products[kMostRows * kMostTaps];   // {rows, stride}
  const TapRow row{c.W, c.I, c.KW, c.stride_w, c.pad_w, c.dilation_w};
  const std::int64_t up = begin + c.pad_h - c.dilation_h * (c.KH - 1);
  const std::int64_t first = up <= 0 ? 0 : blocks(up, c.stride_h);
  const std::int64_t last = std::min(P, (end - 1 + c.pad_h) / c.stride_h + 1);
  for (std::int64_t y = first; y < last; ++y) {
    const std::int64_t tiles = blocks(Q, p.multiplier->rows);  // of nearly equal width
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const std::int64_t q = tile * Q / tiles, rows = (tile + 1) * Q / tiles - q;
      p.multiplier->pack_rows(rows, c.O, dy + (y * Q + q) * c.O, pixels);
      for (std::int64_t t = 0; t < stride; t += p.multiplier->columns) {
        p.multiplier->multiply(rows, p.panel(t) / width, c.O, pixels, u + t * c.O, products + t,
                               stride);
      }
      for (std::int64_t r = 0; r < c.KH; ++r) {
        const std::int64_t h = y * c.stride_h - c.pad_h + r * c.dilation_h;
        if (h < begin || h >= end) continue;
        p.add_taps(row, products + r * c.KW * c.I, stride, q, rows, dx + h * c.W * c.I);
      }
    }
  }
}

}  // namespace

bool supports_conv2d_data_gradient(const Conv2dShape& c) {
  return c.groups == 1 && c.I <= kMostChannels && c.KH * c.KW * c.I <= kMostTaps &&
         c.O <= kMostOutputs;
}

Plan conv2d_data_gradient(const Conv2dShape& c) {
  const Problem p{&TAPESCOPE_ISA_TABLE(winograd_kernels),
                  TAPESCOPE_ISA_TABLE(few_channels_kernels).add_taps, c};
  const auto workspace = static_cast<std::size_t>(p.padded_taps() * c.O) * sizeof(float);
  return Plan("few_channels", workspace, [p](const Queue&, const Buffers& b) {
    const Conv2dShape& c = p.c;
    const auto* dy = static_cast<const float*>(b.in[0]);
    auto* dx = static_cast<float*>(b.out[0]);
    auto* u = static_cast<float*>(b.workspace);
    pack_weights(p, static_cast<const float*>(b.in[1]), u);
    const std::int64_t bands = blocks(c.H, kBand);
    parallel_for(c.N * bands, [&](std::int64_t chunk) {
      const std::int64_t n = chunk / bands, begin = chunk % bands * kBand;
      run_band(p, dy + n * c.P() * c.Q() * c.O, u, dx + n * c.H * c.W * c.I, begin,
               std::min(begin + kBand, c.H));
    });
  });
}

}  // namespace tapescope::few_channels
