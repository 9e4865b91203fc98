#include "kernels/conv2d/few_channels.h"

#include <algorithm>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/conv2d/simd.h"
#include "kernels/matmul/simd.h"

namespace tapescope::few_channels {
namespace {

constexpr std::int64_t kMostChannels = 4;
constexpr std::int64_t kMostTaps = 512;  // KH * KW * I: a tile's products stay in the first cache
constexpr std::int64_t kMostRows = 14;   // pixels of a tile
constexpr std::int64_t kDepth = 256;     // channels of dy packed at a time
// Rows of dx made at a time. Outputs whose windows reach into two bands are computed for both.
constexpr std::int64_t kBand = 32;

std::int64_t blocks(std::int64_t count, std::int64_t size) { return (count + size - 1) / size; }

// Rows [begin, end) of one image's dx. Every element is summed in the order of outputs, wherever a
// band ends.
void run_band(const GemmKernels& gemm, AddTaps add_taps, const Conv2dShape& c, const float* dy,
              const float* packed_w, float* dx, std::int64_t begin, std::int64_t end) {
  const std::int64_t P = c.P(), Q = c.Q(), taps = c.KH * c.KW * c.I;
  const std::int64_t stride = blocks(taps, gemm.columns) * gemm.columns;
  std::fill(dx + begin * c.W * c.I, dx + end * c.W * c.I, 0.0f);
  alignas(64) float packed[kMostRows * kDepth];
  alignas(64) float products[kMostRows * (kMostTaps + 32)];  // {rows, stride}
  const std::int64_t reach = c.dilation_h * (c.KH - 1);
  const std::int64_t up = begin + c.pad_h - reach;  // the first output is at least up / stride
  const std::int64_t first = up <= 0 ? 0 : blocks(up, c.stride_h);
  const std::int64_t last = std::min(P, (end - 1 + c.pad_h) / c.stride_h + 1);
  for (std::int64_t p = first; p < last; ++p) {
    for (std::int64_t q = 0; q < Q; q += gemm.rows) {
      const std::int64_t rows = std::min(gemm.rows, Q - q);
      for (std::int64_t o = 0; o < c.O; o += kDepth) {
        const std::int64_t depth = std::min(kDepth, c.O - o);
        gemm.pack_a(depth, dy + (p * Q + q) * c.O + o, c.O, 1, rows, packed);
        for (std::int64_t t = 0; t < stride; t += gemm.columns) {
          gemm.tile(depth, packed, packed_w + t * c.O + o * gemm.columns, products + t, stride,
                    rows, gemm.columns, o > 0, nullptr);
        }
      }
      for (std::int64_t r = 0; r < c.KH; ++r) {
        const std::int64_t h = p * c.stride_h - c.pad_h + r * c.dilation_h;
        if (h < begin || h >= end) continue;
        add_taps(TapRow{c.W, c.I, c.KW, c.stride_w, c.pad_w, c.dilation_w},
                 products + r * c.KW * c.I, stride, q, rows, dx + h * c.W * c.I);
      }
    }
  }
}

}  // namespace

bool supports_conv2d_data_gradient(const Conv2dShape& c) {
  return c.groups == 1 && c.I <= kMostChannels && c.KH * c.KW * c.I <= kMostTaps;
}

Plan conv2d_data_gradient(const Conv2dShape& c) {
  const GemmKernels* gemm = &TAPESCOPE_ISA_TABLE(gemm_kernels);
  const AddTaps add_taps = TAPESCOPE_ISA_TABLE(few_channels_kernels).add_taps;
  const std::int64_t taps = c.KH * c.KW * c.I;
  const std::int64_t panels = blocks(taps, gemm->columns);
  const auto workspace = static_cast<std::size_t>(panels * gemm->columns * c.O) * sizeof(float);
  return Plan("few_channels", workspace, [=](const Queue&, const Buffers& b) {
    const auto* dy = static_cast<const float*>(b.in[0]);
    const auto* w = static_cast<const float*>(b.in[1]);
    auto* dx = static_cast<float*>(b.out[0]);
    auto* packed_w = static_cast<float*>(b.workspace);  // {panels, O, columns}
    for (std::int64_t panel = 0; panel < panels; ++panel) {
      const std::int64_t t = panel * gemm->columns;
      gemm->pack_b(c.O, w + t, taps, 1, std::min(gemm->columns, taps - t), packed_w + t * c.O);
    }
    const std::int64_t bands = blocks(c.H, kBand);
    parallel_for(c.N * bands, [&](std::int64_t chunk) {
      const std::int64_t n = chunk / bands, begin = chunk % bands * kBand;
      run_band(*gemm, add_taps, c, dy + n * c.P() * c.Q() * c.O, packed_w, dx + n * c.H * c.W * c.I,
               begin, std::min(begin + kBand, c.H));
    });
  });
}

}  // namespace tapescope::few_channels
