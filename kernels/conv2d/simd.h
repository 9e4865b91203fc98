// The inner loops of the project's own convolutions, once per instruction set: see winograd.h and
// few_channels.h for the algorithms.
#pragma once

#include <cstdint>

#include "kernels/common/isa_table.h"

namespace tapescope {

// What a convolution's sums become: y = clamp(sums + bias + residual, least, most).
struct OutputEpilogue {
  const float* bias;      // {C}, may be null
  const float* residual;  // like y, may be null
  float least, most;      // infinite where there is no bound
};

// Channels are taken `width` at a time (a block); what is written in between is padded with zeros
// to whole blocks. e counts the elements of a transformed tile, `element` is the distance between
// two of them.

// F(tile x tile, taps x taps), and of its weight gradient F(taps x taps, tile x tile).
struct WinogradTransforms {
  std::int64_t tile, taps;  // outputs and weights along each side
  std::int64_t elements;    // of a transformed tile: (tile + taps - 1)^2

  // v[e * element + block * block_stride + lane] = (B^T d B)[e], d the window of tile + taps - 1
  // pixels a side of an image {H, W, C} at (top, left), zero outside.
  void (*image)(const float* image, std::int64_t H, std::int64_t W, std::int64_t C,
                std::int64_t top, std::int64_t left, float* v, std::int64_t element,
                std::int64_t block_stride);
  // u[e * element + k * panel + j] = (G g G^T)[e] for k < K and j < count, zero for count <= j <
  // panel, where g[t] = w[k * k_stride + j * j_stride + tap * tap_stride], tap = t, or, where the
  // weights are turned by half a turn, the last tap - t. panel is width or columns.
  void (*weights)(const float* w, std::int64_t K, std::int64_t count, std::int64_t panel,
                  std::int64_t k_stride, std::int64_t j_stride, std::int64_t tap_stride,
                  bool turned, float* u, std::int64_t element);
  // y[row * row_stride + column * C + c] = what the epilogue makes of (A^T m A)[row, column], for
  // row < rows <= tile and column < columns <= tile, where m[e] = m[e * element + c]. The
  // epilogue's residual lies as y does.
  void (*output)(const float* m, std::int64_t element, std::int64_t C, const OutputEpilogue& then,
                 float* y, std::int64_t row_stride, std::int64_t rows, std::int64_t columns);
  // v[e * element + c] = (D d D^T)[e], d the window of tile pixels a side of a gradient {P, Q, C}
  // at (top, left), zero outside. Null where there is no weight gradient.
  void (*gradient)(const float* gradient, std::int64_t P, std::int64_t Q, std::int64_t C,
                   std::int64_t top, std::int64_t left, float* v, std::int64_t element);
  // dw[tap * C + c] = (E^T m E)[tap] for the taps x taps taps and c < C.
  void (*weight_gradient)(const float* m, std::int64_t element, std::int64_t C, float* dw);
};

struct WinogradKernels {
  std::int64_t width;    // floats in a vector
  std::int64_t rows;     // most tiles of a panel: their sums stay in registers
  std::int64_t columns;  // channels of a panel of weights: two vectors

  WinogradTransforms f4x4_3x3, f2x2_3x3, f2x2_5x5;

  // y[i] = clamp(y[i] + residual[i], least, most) for i < count: an epilogue without its bias,
  // where y holds a convolution already.
  void (*finish)(std::int64_t count, const OutputEpilogue& then, float* y);

  // m[r * m_stride + j] = sum_k v[k, r] u[k, j] for r < count <= rows, j < vectors * width, with
  // v {K / width, count, width} and u {K, vectors * width}; vectors is 1 or 2.
  void (*multiply)(std::int64_t count, std::int64_t vectors, std::int64_t K, const float* v,
                   const float* u, float* m, std::int64_t m_stride);
  // packed {K / width, count, width} from rows {count, K}: multiply's v, not padded.
  void (*pack_rows)(std::int64_t count, std::int64_t K, const float* rows, float* packed);
  // m[r * m_stride + j] += sum_t d[t * d_stride + r] v[t * v_stride + j], likewise.
  void (*accumulate)(std::int64_t count, std::int64_t vectors, std::int64_t tiles, const float* d,
                     std::int64_t d_stride, const float* v, std::int64_t v_stride, float* m,
                     std::int64_t m_stride);
};
TAPESCOPE_DECLARE_ISA_TABLE(WinogradKernels, winograd_kernels)

struct TapRow {
  std::int64_t W, I, KW, stride, pad, dilation;  // all along the width
};
// dx[q * stride - pad + s * dilation, i] += products[(q - first) * row_stride + s * I + i] for q in
// [first, first + count), where inside the row dx {W, I}.
using AddTaps = void (*)(const TapRow& row, const float* products, std::int64_t row_stride,
                         std::int64_t first, std::int64_t count, float* dx);
struct FewChannelsKernels {
  AddTaps add_taps;
};
TAPESCOPE_DECLARE_ISA_TABLE(FewChannelsKernels, few_channels_kernels)

// Convolutions of each channel by itself: see depthwise_simd.h.
struct DepthwiseKernels {
  // y[c] = bias[c] + sum_t x[t][c] w[t][c] for c < C, taps in order; bias may be null.
  void (*add_taps)(std::int64_t C, std::int64_t taps, const float* const* x, const float* const* w,
                   const float* bias, float* y);
  // sums[c] += sum_q x[q * x_step + c] dy[q * dy_step + c] for c < channels, q < pixels.
  void (*add_products)(std::int64_t channels, std::int64_t pixels, const float* x,
                       std::int64_t x_step, const float* dy, std::int64_t dy_step, float* sums);
};
TAPESCOPE_DECLARE_ISA_TABLE(DepthwiseKernels, depthwise_kernels)

}  // namespace tapescope
