// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/conv2d/simd.h"

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

#if defined(TAPESCOPE_ISA_avx512)
constexpr int kWidth = 16, kRows = 14;
#elif defined(TAPESCOPE_ISA_avx2)
constexpr int kWidth = 8, kRows = 6;
#else
constexpr int kWidth = 4, kRows = 6;
#endif
#define INLINE inline __attribute__((always_inline))

// Read and written at any address. Name the type where it is used: auto forgets the alignment.
typedef float Vector __attribute__((vector_size(kWidth * sizeof(float)), aligned(4), may_alias));

INLINE Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
INLINE void store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }
INLINE Vector load(const float* from, std::int64_t count) {
  if (count >= kWidth) return load(from);
  Vector value = {};
  for (std::int64_t i = 0; i < count; ++i) value[i] = from[i];
  return value;
}
INLINE void store(float* to, Vector value, std::int64_t count) {
  if (count >= kWidth) return store(to, value);
  for (std::int64_t i = 0; i < count; ++i) to[i] = value[i];
}

// --- the transforms along one axis ---------------------------------------------------------------
// Six elements: F(4x4, 3x3), F(2x2, 5x5) and their weight gradients F(3x3, 4x4) and F(5x5, 2x2) on
// the points 0, -a, a, -b, b and infinity with a^2 = 1/2, b^2 = 2: the textbook's 0, 1, -1, 2, -2
// cost as much and round four times worse. Rows of B^T are the coefficients of x (x^2 - a^2)
// (x^2 - b^2) without the row's point; of G and D, powers of the point over the product of its
// distances to the others (1, -3/2 and 6); of A^T and E^T, powers of the points.

constexpr float kA = 0.70710678118654752f, kB = 1.41421356237309505f;

INLINE void image_axis(const Vector* d, Vector* t) {  // B^T, six to six
  const Vector even_a = d[4] - 2.0f * d[2], odd_a = kA * (d[3] - 2.0f * d[1]);
  const Vector even_b = d[4] - 0.5f * d[2], odd_b = kB * (d[3] - 0.5f * d[1]);
  t[0] = d[0] - 2.5f * d[2] + d[4];
  t[1] = even_a + odd_a;
  t[2] = even_a - odd_a;
  t[3] = even_b + odd_b;
  t[4] = even_b - odd_b;
  t[5] = d[1] - 2.5f * d[3] + d[5];
}
template <int Taps>
INLINE void weight_axis(const Vector* g, Vector* t) {  // G and D, two to five become six
  Vector even_a = (-2.0f / 3) * g[0], odd_a = (-2 * kA / 3) * g[1];
  Vector even_b = (1.0f / 6) * g[0], odd_b = (kB / 6) * g[1];
  if constexpr (Taps > 2) even_a -= (1.0f / 3) * g[2], even_b += (1.0f / 3) * g[2];
  if constexpr (Taps > 3) odd_a -= (kA / 3) * g[3], odd_b += (kB / 3) * g[3];
  if constexpr (Taps > 4) even_a -= (1.0f / 6) * g[4], even_b += (2.0f / 3) * g[4];
  t[0] = g[0];
  t[1] = even_a + odd_a;
  t[2] = even_a - odd_a;
  t[3] = even_b + odd_b;
  t[4] = even_b - odd_b;
  t[5] = g[Taps - 1];
}
template <int Outputs>
INLINE void output_axis(const Vector* m, Vector* y) {  // A^T and E^T, six become two to five
  const Vector even_a = m[1] + m[2], odd_a = kA * (m[1] - m[2]);
  const Vector even_b = m[3] + m[4], odd_b = kB * (m[3] - m[4]);
  y[0] = m[0] + even_a + even_b;
  y[1] = odd_a + odd_b;
  if constexpr (Outputs > 2) y[2] = 0.5f * even_a + 2.0f * even_b;
  if constexpr (Outputs > 3) y[3] = 0.5f * odd_a + 2.0f * odd_b;
  if constexpr (Outputs > 4) y[4] = 0.25f * even_a + 4.0f * even_b;
  y[Outputs - 1] += m[5];
}
// F(2x2, 3x3) on the points 0, 1, -1 and infinity.
INLINE void small_image_axis(const Vector* d, Vector* t) {  // B^T, four to four
  t[0] = d[0] - d[2];
  t[1] = d[1] + d[2];
  t[2] = d[2] - d[1];
  t[3] = d[1] - d[3];
}
INLINE void small_weight_axis(const Vector* g, Vector* t) {  // G, three to four
  const Vector even = 0.5f * (g[0] + g[2]), odd = 0.5f * g[1];
  t[0] = g[0];
  t[1] = even + odd;
  t[2] = even - odd;
  t[3] = g[2];
}
INLINE void small_output_axis(const Vector* m, Vector* y) {  // A^T, four to two
  y[0] = m[0] + m[1] + m[2];
  y[1] = m[1] - m[2] - m[3];
}
// Along columns, then along rows: `in` {From, From}, out(row, column) takes the To x To results.
template <int From, int To, void (*Axis)(const Vector*, Vector*), class In, class Out>
INLINE void both_axes(In&& in, Out&& out) {
  Vector half[To][From];
#pragma GCC unroll 6
  for (int column = 0; column < From; ++column) {
    Vector d[From], t[To];
#pragma GCC unroll 6
    for (int row = 0; row < From; ++row) d[row] = in(row, column);
    Axis(d, t);
#pragma GCC unroll 6
    for (int row = 0; row < To; ++row) half[row][column] = t[row];
  }
#pragma GCC unroll 6
  for (int row = 0; row < To; ++row) {
    Vector t[To];
    Axis(half[row], t);
#pragma GCC unroll 6
    for (int column = 0; column < To; ++column) out(row, column, t[column]);
  }
}

// A window of Size x Size of `image` {H, W, C}, zero outside, transformed channel block by block to
// Side x Side elements. The next window is Tile pixels further.
template <int Size, int Side, int Tile, void (*Axis)(const Vector*, Vector*)>
INLINE void transform_window(const float* image, std::int64_t H, std::int64_t W, std::int64_t C,
                             std::int64_t top, std::int64_t left, float* v, std::int64_t element,
                             std::int64_t block_stride) {
  const float* window = image + (top * W + left) * C;
  const bool inside = top >= 0 && left >= 0 && top + Size <= H && left + Size <= W;
  for (std::int64_t c = 0; c < C; c += kWidth, v += block_stride) {
    const auto write = [&](int row, int column, Vector value) {
      store(v + (row * Side + column) * element, value);
    };
    // The next tile's new pixels: rows are too far apart for the processor to foresee them.
    for (int row = Size - Tile; row < Size; ++row) {
      for (int column = Size; column < Size + Tile; ++column) {
        __builtin_prefetch(window + (row * W + column) * C + c);
      }
    }
    if (inside && C - c >= kWidth) {
      both_axes<Size, Side, Axis>(
          [&](int row, int column) { return load(window + (row * W + column) * C + c); }, write);
    } else {
      Vector d[Size][Size];
      for (int row = 0; row < Size; ++row) {
        for (int column = 0; column < Size; ++column) {
          const bool there =
              top + row >= 0 && top + row < H && left + column >= 0 && left + column < W;
          d[row][column] = there ? load(window + (row * W + column) * C + c, C - c) : Vector{};
        }
      }
      both_axes<Size, Side, Axis>([&](int row, int column) { return d[row][column]; }, write);
    }
  }
}

template <int Tile, int Taps, void (*Axis)(const Vector*, Vector*)>
void transform_image(const float* image, std::int64_t H, std::int64_t W, std::int64_t C,
                     std::int64_t top, std::int64_t left, float* v, std::int64_t element,
                     std::int64_t block_stride) {
  constexpr int kSide = Tile + Taps - 1;
  transform_window<kSide, kSide, Tile, Axis>(image, H, W, C, top, left, v, element, block_stride);
}
template <int Tile>
void transform_gradient(const float* gradient, std::int64_t P, std::int64_t Q, std::int64_t C,
                        std::int64_t top, std::int64_t left, float* v, std::int64_t element) {
  transform_window<Tile, 6, Tile, weight_axis<Tile>>(gradient, P, Q, C, top, left, v, element,
                                                     kWidth);
}

template <int Tile, int Taps, void (*Axis)(const Vector*, Vector*)>
void transform_weights(const float* w, std::int64_t K, std::int64_t count, std::int64_t panel,
                       std::int64_t k_stride, std::int64_t j_stride, std::int64_t tap_stride,
                       bool turned, float* u, std::int64_t element) {
  constexpr int kBlock = 16;  // steps of k gathered at a time, where w runs along k
  constexpr int kSide = Tile + Taps - 1, kTaps = Taps * Taps;
  float g[kTaps][kBlock][kWidth];
  for (std::int64_t j = 0; j < panel; j += kWidth) {
    const std::int64_t columns = count - j < kWidth ? count - j : kWidth;
    for (std::int64_t k0 = 0; k0 < K; k0 += kBlock) {
      const std::int64_t steps = K - k0 < kBlock ? K - k0 : kBlock;
      for (int tap = 0; tap < kTaps; ++tap) {
        const float* from = w + (turned ? kTaps - 1 - tap : tap) * tap_stride + k0 * k_stride;
        for (int lane = 0; lane < kWidth; ++lane) {
          for (std::int64_t k = 0; k < steps; ++k) {
            g[tap][k][lane] = lane < columns ? from[k * k_stride + (j + lane) * j_stride] : 0.0f;
          }
        }
      }
      for (std::int64_t k = 0; k < steps; ++k) {
        float* to = u + (k0 + k) * panel + j;
        both_axes<Taps, kSide, Axis>(
            [&](int row, int column) { return load(g[row * Taps + column][k]); },
            [&](int row, int column, Vector value) {
              store(to + (row * kSide + column) * element, value);
            });
      }
    }
  }
}

INLINE Vector clamped(Vector value, Vector least, Vector most) {  // NaN stays what it is
  value = value < least ? least : value;
  return value > most ? most : value;
}

void finish(std::int64_t count, const OutputEpilogue& then, float* y) {
  const Vector least = Vector{} + then.least, most = Vector{} + then.most;
  for (std::int64_t i = 0; i < count; i += kWidth) {
    Vector value = load(y + i, count - i);
    if (then.residual != nullptr) value += load(then.residual + i, count - i);
    store(y + i, clamped(value, least, most), count - i);
  }
}

// A block of channels of an output. Whole: of a tile that is not cut, with all channels of a block;
// what is asked at each element otherwise takes longer than the transform.
template <int Side, int Tile, void (*Axis)(const Vector*, Vector*), bool Whole, bool Residual>
void output_block(const float* m, std::int64_t element, std::int64_t C, std::int64_t count,
                  Vector shift, const OutputEpilogue& then, const float* residual, float* y,
                  std::int64_t row_stride, std::int64_t rows, std::int64_t columns) {
  const Vector least = Vector{} + then.least, most = Vector{} + then.most;
  both_axes<Side, Tile, Axis>(
      [&](int row, int column) { return load(m + (row * Side + column) * element); },
      [&](int row, int column, Vector value) {
        if (!Whole && (row >= rows || column >= columns)) return;
        const std::int64_t at = row * row_stride + column * C;
        value += shift;
        if (Residual) value += Whole ? load(residual + at) : load(residual + at, count);
        value = clamped(value, least, most);
        if (Whole) {
          store(y + at, value);
        } else {
          store(y + at, value, count);
        }
      });
}

template <int Side, int Tile, void (*Axis)(const Vector*, Vector*)>
void transform_output(const float* m, std::int64_t element, std::int64_t C,
                      const OutputEpilogue& then, float* y, std::int64_t row_stride,
                      std::int64_t rows, std::int64_t columns) {
  for (std::int64_t c = 0; c < C; c += kWidth) {
    const std::int64_t count = C - c;
    const Vector shift = then.bias != nullptr ? load(then.bias + c, count) : Vector{};
    const bool whole = rows == Tile && columns == Tile && count >= kWidth;
    if (then.residual == nullptr) {
      const auto block = whole ? output_block<Side, Tile, Axis, true, false>
                               : output_block<Side, Tile, Axis, false, false>;
      block(m + c, element, C, count, shift, then, nullptr, y + c, row_stride, rows, columns);
    } else {
      const auto block = whole ? output_block<Side, Tile, Axis, true, true>
                               : output_block<Side, Tile, Axis, false, true>;
      block(m + c, element, C, count, shift, then, then.residual + c, y + c, row_stride, rows,
            columns);
    }
  }
}

template <int Taps>
void transform_weight_gradient(const float* m, std::int64_t element, std::int64_t C, float* dw) {
  for (std::int64_t c = 0; c < C; c += kWidth) {
    both_axes<6, Taps, output_axis<Taps>>(
        [&](int row, int column) { return load(m + (row * 6 + column) * element + c); },
        [&](int row, int column, Vector value) {
          store(dw + (row * Taps + column) * C + c, value, C - c);
        });
  }
}

// --- products: Rows x Vectors sums in registers --------------------------------------------------

template <int Rows, int Vectors>
INLINE void step(const float* left, std::int64_t stride, const float* right,
                 Vector (&sum)[Rows][Vectors]) {
  Vector row[Vectors];
#pragma GCC unroll 2
  for (int v = 0; v < Vectors; ++v) row[v] = load(right + v * kWidth);
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    const float scalar = left[r * stride];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) sum[r][v] += scalar * row[v];
  }
}

// Weights come from far away, in order: asked for this many floats early they are there in time.
constexpr std::int64_t kAhead = 1024;

template <int Rows, int Vectors>
void multiply_tile(std::int64_t K, const float* v, const float* u, float* m,
                   std::int64_t m_stride) {
  Vector sum[Rows][Vectors] = {};
  std::int64_t k = 0;
  for (; k + kWidth <= K; k += kWidth, v += Rows * kWidth) {
#pragma GCC unroll 2
    for (int lane = 0; lane < kWidth; ++lane, u += Vectors * kWidth) {
#pragma GCC unroll 2
      for (int i = 0; i < Vectors; ++i) __builtin_prefetch(u + kAhead + i * kWidth);
      step<Rows, Vectors>(v + lane, kWidth, u, sum);
    }
  }
  for (; k < K; ++k, ++v, u += Vectors * kWidth) step<Rows, Vectors>(v, kWidth, u, sum);
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
    for (int i = 0; i < Vectors; ++i) store(m + r * m_stride + i * kWidth, sum[r][i]);
  }
}

template <int Rows, int Vectors>
void accumulate_tile(std::int64_t tiles, const float* d, std::int64_t d_stride, const float* v,
                     std::int64_t v_stride, float* m, std::int64_t m_stride) {
  Vector sum[Rows][Vectors] = {};
  for (std::int64_t t = 0; t < tiles; ++t, d += d_stride, v += v_stride) {
    step<Rows, Vectors>(d, 1, v, sum);
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
    for (int i = 0; i < Vectors; ++i) {
      float* to = m + r * m_stride + i * kWidth;
      store(to, load(to) + sum[r][i]);
    }
  }
}

// Finds the kernel with this number of rows at compile time.
template <int Rows>
void multiply_rows(std::int64_t count, std::int64_t vectors, std::int64_t K, const float* v,
                   const float* u, float* m, std::int64_t m_stride) {
  if constexpr (Rows > 0) {
    if (count != Rows) return multiply_rows<Rows - 1>(count, vectors, K, v, u, m, m_stride);
    if (vectors == 2) return multiply_tile<Rows, 2>(K, v, u, m, m_stride);
    multiply_tile<Rows, 1>(K, v, u, m, m_stride);
  }
}
template <int Rows>
void accumulate_rows(std::int64_t count, std::int64_t vectors, std::int64_t tiles, const float* d,
                     std::int64_t d_stride, const float* v, std::int64_t v_stride, float* m,
                     std::int64_t m_stride) {
  if constexpr (Rows > 0) {
    if (count != Rows) {
      return accumulate_rows<Rows - 1>(count, vectors, tiles, d, d_stride, v, v_stride, m,
                                       m_stride);
    }
    if (vectors == 2) return accumulate_tile<Rows, 2>(tiles, d, d_stride, v, v_stride, m, m_stride);
    accumulate_tile<Rows, 1>(tiles, d, d_stride, v, v_stride, m, m_stride);
  }
}

// --- few channels --------------------------------------------------------------------------------

void pack_rows(std::int64_t count, std::int64_t K, const float* rows, float* packed) {
  for (std::int64_t k = 0; k < K; k += kWidth, packed += count * kWidth) {
    for (std::int64_t r = 0; r < count; ++r) {
      store(packed + r * kWidth, load(rows + r * K + k, K - k), K - k);
    }
  }
}

// Neighbouring windows overlap. Taking one tap of all windows at a time, no addition waits for the
// one before.
template <int Channels>
void add_tap(const TapRow& row, const float* products, std::int64_t row_stride, std::int64_t first,
             std::int64_t count, float* dx) {
  for (std::int64_t s = 0; s < row.KW; ++s) {
    const std::int64_t shift = s * row.dilation - row.pad;
    for (std::int64_t t = 0; t < count; ++t) {
      const std::int64_t w = (first + t) * row.stride + shift;
      if (w < 0 || w >= row.W) continue;
      const float* from = products + t * row_stride + s * Channels;
#pragma GCC unroll 4
      for (int i = 0; i < Channels; ++i) dx[w * Channels + i] += from[i];
    }
  }
}
void add_taps(const TapRow& row, const float* products, std::int64_t row_stride, std::int64_t first,
              std::int64_t count, float* dx) {
  switch (row.I) {
    case 1:
      return add_tap<1>(row, products, row_stride, first, count, dx);
    case 2:
      return add_tap<2>(row, products, row_stride, first, count, dx);
    case 3:
      return add_tap<3>(row, products, row_stride, first, count, dx);
    case 4:
      return add_tap<4>(row, products, row_stride, first, count, dx);
  }
}

// --- each channel by itself ----------------------------------------------------------------------

constexpr int kDepthwiseVectors = 4;  // of channels, whose sums stay in registers

// wide(first) for blocks of whole vectors, narrow(first, channels) for what is left.
template <class Wide, class Narrow>
INLINE void for_channels(std::int64_t C, Wide&& wide, Narrow&& narrow) {
  std::int64_t c = 0;
  for (; c + kDepthwiseVectors * kWidth <= C; c += kDepthwiseVectors * kWidth) wide(c);
  for (; c < C; c += kWidth) narrow(c, C - c < kWidth ? C - c : kWidth);
}

void add_depthwise_taps(std::int64_t C, std::int64_t taps, const float* const* x,
                        const float* const* w, const float* bias, float* y) {
  for_channels(
      C,
      [=](std::int64_t c) {
        Vector sum[kDepthwiseVectors] = {};
        for (int k = 0; bias != nullptr && k < kDepthwiseVectors; ++k) {
          sum[k] = load(bias + c + k * kWidth);
        }
        for (std::int64_t t = 0; t < taps; ++t) {
#pragma GCC unroll 4
          for (int k = 0; k < kDepthwiseVectors; ++k) {
            sum[k] += load(x[t] + c + k * kWidth) * load(w[t] + c + k * kWidth);
          }
        }
        for (int k = 0; k < kDepthwiseVectors; ++k) store(y + c + k * kWidth, sum[k]);
      },
      [=](std::int64_t c, std::int64_t count) {
        Vector sum = {};
        if (bias != nullptr) sum = load(bias + c, count);
        for (std::int64_t t = 0; t < taps; ++t)
          sum += load(x[t] + c, count) * load(w[t] + c, count);
        store(y + c, sum, count);
      });
}

void add_depthwise_products(std::int64_t channels, std::int64_t pixels, const float* x,
                            std::int64_t x_step, const float* dy, std::int64_t dy_step,
                            float* sums) {
  for_channels(
      channels,
      [=](std::int64_t c) {
        Vector sum[kDepthwiseVectors] = {};
        for (std::int64_t q = 0; q < pixels; ++q) {
#pragma GCC unroll 4
          for (int k = 0; k < kDepthwiseVectors; ++k) {
            sum[k] +=
                load(x + q * x_step + c + k * kWidth) * load(dy + q * dy_step + c + k * kWidth);
          }
        }
        for (int k = 0; k < kDepthwiseVectors; ++k) {
          store(sums + c + k * kWidth, load(sums + c + k * kWidth) + sum[k]);
        }
      },
      [=](std::int64_t c, std::int64_t count) {
        Vector sum = {};
        for (std::int64_t q = 0; q < pixels; ++q) {
          sum += load(x + q * x_step + c, count) * load(dy + q * dy_step + c, count);
        }
        store(sums + c, load(sums + c, count) + sum, count);
      });
}

}  // namespace

extern const DepthwiseKernels depthwise_kernels;
const DepthwiseKernels depthwise_kernels = {add_depthwise_taps, add_depthwise_products};
extern const FewChannelsKernels few_channels_kernels;
const FewChannelsKernels few_channels_kernels = {add_taps};
extern const WinogradKernels winograd_kernels;
const WinogradKernels winograd_kernels = {
    kWidth,
    kRows,
    2 * kWidth,
    {4, 3, 36, transform_image<4, 3, image_axis>, transform_weights<4, 3, weight_axis<3>>,
     transform_output<6, 4, output_axis<4>>, transform_gradient<4>, transform_weight_gradient<3>},
    {2, 3, 16, transform_image<2, 3, small_image_axis>, transform_weights<2, 3, small_weight_axis>,
     transform_output<4, 2, small_output_axis>, nullptr, nullptr},
    {2, 5, 36, transform_image<2, 5, image_axis>, transform_weights<2, 5, weight_axis<5>>,
     transform_output<6, 2, output_axis<2>>, transform_gradient<2>, transform_weight_gradient<5>},
    finish,
    multiply_rows<kRows>,
    pack_rows,
    accumulate_rows<kRows>,
};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
