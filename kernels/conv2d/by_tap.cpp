#include "kernels/conv2d/by_tap.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/common/pieces.h"
#include "kernels/conv2d/simd.h"
#include "kernels/conv2d/winograd_tiles.h"
#include "kernels/more_ops/cast/widened.h"

namespace tapescope::by_tap {
namespace {

using winograd::blocks;
using winograd::padded;

constexpr std::int64_t kMostPixels = 8;     // of y
constexpr std::int64_t kWholeVectors = 16;  // channels: whole vectors on every instruction set
constexpr std::int64_t kImages = 64;        // taken at a time
constexpr std::int64_t kRows = 128;         // of a tap, summed at a time in a weight gradient
constexpr std::int64_t kOutputs = 64;       // channels of dy that go into one piece of dw

// to[i] = from[i] for i < count: bf16 is multiplied as f32.
template <class T>
void copy(const T* from, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(from[i]);
}

struct Pixels {
  std::int64_t of_x, of_y;
};
// The pixels of one image that a tap joins, in order.
std::vector<Pixels> joined_by(const Conv2dShape& c, std::int64_t tap) {
  std::vector<Pixels> joined;
  for (std::int64_t p = 0; p < c.P(); ++p) {
    for (std::int64_t q = 0; q < c.Q(); ++q) {
      const std::int64_t h = p * c.stride_h - c.pad_h + tap / c.KW * c.dilation_h;
      const std::int64_t w = q * c.stride_w - c.pad_w + tap % c.KW * c.dilation_w;
      if (h >= 0 && h < c.H && w >= 0 && w < c.W) joined.push_back({h * c.W + w, p * c.Q() + q});
    }
  }
  return joined;
}

// --- forward and the data gradient: rows of `in` {N, in_pixels, K} give rows of `out`
// {N, out_pixels, J}

struct Tap {
  std::int64_t index;
  std::int64_t before;                 // pixels of the taps before
  std::vector<std::int64_t> from, to;  // pixels of in and out
  std::int64_t pixels() const { return static_cast<std::int64_t>(from.size()); }
};
struct Problem {
  const WinogradKernels* kernels;
  std::int64_t N, K, J, in_pixels, out_pixels;
  std::int64_t k_stride, j_stride, tap_stride;  // of the weights, in floats
  bool bias;
  std::vector<Tap> taps;  // those that join pixels

  std::int64_t pixels() const { return taps.back().before + taps.back().pixels(); }
  std::int64_t weight_floats() const { return static_cast<std::int64_t>(taps.size()) * K * J; }
  std::int64_t row_floats() const { return std::min(N, kImages) * pixels() * K; }
};

Problem problem(const Conv2dShape& c, bool turned) {
  Problem p{};
  p.kernels = &TAPESCOPE_ISA_TABLE(winograd_kernels);
  p.N = c.N, p.K = turned ? c.O : c.I, p.J = turned ? c.I : c.O;
  p.in_pixels = turned ? c.P() * c.Q() : c.H * c.W;
  p.out_pixels = turned ? c.H * c.W : c.P() * c.Q();
  const std::int64_t row = c.KH * c.KW * c.I;  // of w {O, KH, KW, I}
  p.k_stride = turned ? row : 1, p.j_stride = turned ? 1 : row, p.tap_stride = c.I;
  p.bias = c.bias && !turned;
  for (std::int64_t tap = 0; tap < c.KH * c.KW; ++tap) {
    Tap joined{tap, p.taps.empty() ? 0 : p.pixels(), {}, {}};
    for (const Pixels& pixels : joined_by(c, tap)) {
      joined.from.push_back(turned ? pixels.of_y : pixels.of_x);
      joined.to.push_back(turned ? pixels.of_x : pixels.of_y);
    }
    if (!joined.from.empty()) p.taps.push_back(std::move(joined));
  }
  return p;
}

// f(first channel of out, how many) for panels of two vectors, or the one that is left.
template <class F>
void for_panels(const Problem& p, F&& f) {
  const std::int64_t columns = p.kernels->columns;
  parallel_for(blocks(p.J, columns), [&](std::int64_t panel) {
    f(panel * columns, std::min(columns, p.J - panel * columns));
  });
}

// u {taps, panels, K, channels of the panel}
template <class T>
void pack_weights(const Problem& p, const T* w, float* u) {
  for_panels(p, [&](std::int64_t j, std::int64_t channels) {
    for (std::size_t t = 0; t < p.taps.size(); ++t) {
      const T* from = w + p.taps[t].index * p.tap_stride + j * p.j_stride;
      float* to = u + static_cast<std::int64_t>(t) * p.K * p.J + j * p.K;
      for (std::int64_t k = 0; k < p.K; ++k) {
        for (std::int64_t i = 0; i < channels; ++i) {
          to[k * channels + i] = static_cast<float>(from[k * p.k_stride + i * p.j_stride]);
        }
      }
    }
  });
}

// A panel: rows [begin, end) of a tap over a block of images, row r being pixel r % pixels of image
// r / pixels. At least one, of nearly equal height.
template <class F>
void for_rows(const Problem& p, std::int64_t rows, F&& f) {
  const std::int64_t panels = blocks(rows, p.kernels->rows);
  for (std::int64_t i = 0; i < panels; ++i) f(i * rows / panels, (i + 1) * rows / panels);
}

// Images [0, count) of in and out. v: {taps, rows of the tap, K}, by panels {K / width, rows,
// width}
template <class T>
void run_block(const Problem& p, std::int64_t count, const T* in, const float* u, const float* bias,
               float* out, float* v) {
  const std::int64_t width = p.kernels->width;
  const auto rows_of = [&](const Tap& tap) { return v + count * tap.before * p.K; };
  parallel_for(static_cast<std::int64_t>(p.taps.size()), [&](std::int64_t t) {
    const Tap& tap = p.taps[static_cast<std::size_t>(t)];
    const std::int64_t pixels = tap.pixels();
    for_rows(p, count * pixels, [&](std::int64_t begin, std::int64_t end) {
      float* to = rows_of(tap) + begin * p.K;
      for (std::int64_t r = begin; r < end; ++r) {
        const std::int64_t pixel = tap.from[static_cast<std::size_t>(r % pixels)];
        const T* from = in + (r / pixels * p.in_pixels + pixel) * p.K;
        for (std::int64_t k = 0; k < p.K; k += width) {
          copy(from + k, width, to + k * (end - begin) + (r - begin) * width);
        }
      }
    });
  });
  for_panels(p, [&](std::int64_t j, std::int64_t channels) {
    for (std::int64_t row = 0; row < count * p.out_pixels; ++row) {
      float* to = out + row * p.J + j;
      if (bias != nullptr) {
        std::copy_n(bias + j, channels, to);
      } else {
        std::fill_n(to, channels, 0.0f);
      }
    }
    alignas(64) float m[16 * 32];  // {rows, channels}
    for (std::size_t t = 0; t < p.taps.size(); ++t) {
      const Tap& tap = p.taps[t];
      const std::int64_t pixels = tap.pixels();
      const float* weights = u + static_cast<std::int64_t>(t) * p.K * p.J + j * p.K;
      for_rows(p, count * pixels, [&](std::int64_t begin, std::int64_t end) {
        p.kernels->multiply(end - begin, channels / width, p.K, rows_of(tap) + begin * p.K, weights,
                            m, channels);
        for (std::int64_t r = begin; r < end; ++r) {
          const std::int64_t pixel = tap.to[static_cast<std::size_t>(r % pixels)];
          float* to = out + (r / pixels * p.out_pixels + pixel) * p.J + j;
          const float* from = m + (r - begin) * channels;
          for (std::int64_t i = 0; i < channels; ++i) to[i] += from[i];
        }
      });
    }
  });
}

// Of operands T; the result is f32.
template <class T>
struct Kernel {
  Problem p;

  void pack(const Queue&, const void* weights, void* packed) const {
    pack_weights(p, static_cast<const T*>(weights), static_cast<float*>(packed));
  }
  void operator()(const Queue& queue, const Buffers& b) const {
    float* v = static_cast<float*>(b.workspace);
    float* own = v + padded(p.row_floats(), 16);
    if (b.packed == nullptr) pack(queue, b.in[1], own);
    const auto* u = b.packed != nullptr ? static_cast<const float*>(b.packed) : own;
    const auto* in = static_cast<const T*>(b.in[0]);
    const auto* bias = p.bias ? static_cast<const float*>(b.in[2]) : nullptr;
    auto* out = static_cast<float*>(b.out[0]);
    for (std::int64_t n = 0; n < p.N; n += kImages) {
      run_block(p, std::min(kImages, p.N - n), in + n * p.in_pixels * p.K, u, bias,
                out + n * p.out_pixels * p.J, v);
    }
  }
};

std::size_t bytes(std::int64_t floats) { return static_cast<std::size_t>(floats) * sizeof(float); }

// What is packed depends on the taps that join pixels. A layout's name lives as long as the
// process.
std::string_view layout_of(const Problem& p, bool turned) {
  static std::mutex mutex;
  static std::set<std::string> names;
  std::string name = turned ? "by tap, turned:" : "by tap:";
  for (const Tap& tap : p.taps) name += fmt::format(" {}", tap.index);
  const std::lock_guard<std::mutex> lock(mutex);
  return *names.insert(std::move(name)).first;
}

template <class T>
Plan plan_of(const Conv2dShape& c, bool turned) {
  Kernel<T> kernel{problem(c, turned)};
  const std::size_t packed = bytes(padded(kernel.p.weight_floats(), 16));
  const std::size_t rows = bytes(padded(kernel.p.row_floats(), 16));
  const Packing packing{layout_of(kernel.p, turned), packed};
  return Plan("by_tap", rows + packed, std::move(kernel), packing);
}
Plan plan(const Conv2dShape& c, bool turned) {
  if (c.dtype == DType::f32) return plan_of<float>(c, turned);
  const std::int64_t x = c.N * c.H * c.W * c.I, y = c.N * c.P() * c.Q() * c.O;
  Plan f32 = plan_of<bf16>(c, turned);
  if (turned || !c.bias) return widened(std::move(f32), {kAsItIs, kAsItIs}, {turned ? x : y});
  return widened(std::move(f32), {kAsItIs, kAsItIs, kAsItIs}, {y});
}

// --- the weight gradient

struct Sums {
  const WinogradKernels* kernels;
  Conv2dShape c;
  std::vector<std::vector<Pixels>> taps;
  std::int64_t workers;

  std::int64_t pieces() const { return std::max<std::int64_t>(1, c.pieces); }
  // Two pieces of which the second is one block of rows are made in one buffer, p0 += p1: the
  // products of a block are summed from zero before they are added.
  bool in_pairs(std::int64_t pixels) const {
    return pieces() > 1 && (c.N + pieces() - 1) / pieces() * pixels <= kRows;
  }
  std::int64_t parts() const { return blocks(c.O, kOutputs); }
  std::int64_t level_floats() const { return kOutputs * c.I; }
  std::int64_t scratch_floats() const {
    return kRows * (c.I + kOutputs) + (piece_levels(pieces()) - 1) * level_floats();
  }
};

// Adds dw[o, tap] of some images for o in [o, o + outputs) to rows `stride` apart.
template <class T>
void add_images(const Sums& s, std::int64_t tap, RowRange images, std::int64_t o,
                std::int64_t outputs, const T* x, const T* dy, float* scratch, float* to,
                std::int64_t stride) {
  const std::int64_t I = s.c.I, O = s.c.O;
  const std::vector<Pixels>& joined = s.taps[static_cast<std::size_t>(tap)];
  const auto pixels = static_cast<std::int64_t>(joined.size());
  float *d = scratch, *v = scratch + kRows * kOutputs;  // {rows, outputs}, {rows, I}
  const std::int64_t end = (images.first + images.count) * pixels;
  for (std::int64_t row = images.first * pixels; row < end; row += kRows) {
    const std::int64_t rows = std::min(kRows, end - row);
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int64_t n = (row + r) / pixels;
      const Pixels& at = joined[static_cast<std::size_t>((row + r) % pixels)];
      copy(dy + (n * s.c.P() * s.c.Q() + at.of_y) * O + o, outputs, d + r * outputs);
      copy(x + (n * s.c.H * s.c.W + at.of_x) * I, I, v + r * I);
    }
    winograd::add_products(*s.kernels, rows, d, outputs, outputs, v, I, to, stride);
  }
}

// dw[o, tap] for o in [o, o + outputs).
template <class T>
void sum_tap(const Sums& s, std::int64_t tap, std::int64_t o, std::int64_t outputs, const T* x,
             const T* dy, float* dw, float* scratch) {
  const std::int64_t I = s.c.I, dw_stride = s.c.KH * s.c.KW * I;
  float* const to = dw + o * dw_stride + tap * I;  // {outputs, I}
  float* const levels = scratch + kRows * (I + kOutputs);
  const auto buffer = [&](int level) {
    return level == 0 ? to : levels + (level - 1) * s.level_floats();
  };
  const auto stride = [&](int level) { return level == 0 ? dw_stride : I; };
  const auto pixels = std::ssize(s.taps[static_cast<std::size_t>(tap)]);
  const std::int64_t pieces = pixels == 0 ? 1 : s.pieces();  // zeros are the sum of zeros
  const std::int64_t together = pixels > 0 && s.in_pairs(pixels) ? 2 : 1;
  sum_pieces(
      pieces / together,
      [&](std::int64_t made, int level) {
        for (std::int64_t r = 0; r < outputs; ++r) {
          std::fill_n(buffer(level) + r * stride(level), I, 0.0f);
        }
        for (std::int64_t k = 0; k < together; ++k) {
          add_images(s, tap, piece_of(s.c.N, made * together + k, pieces), o, outputs, x, dy,
                     scratch, buffer(level), stride(level));
        }
      },
      [&](int sum, int other) {
        for (std::int64_t r = 0; r < outputs; ++r) {
          float* const a = buffer(sum) + r * stride(sum);
          const float* const b = buffer(other) + r * stride(other);
          for (std::int64_t i = 0; i < I; ++i) a[i] += b[i];
        }
      });
}

template <class T>
void sum_all(const Sums& s, const Buffers& b) {
  const T *x = static_cast<const T*>(b.in[0]), *dy = static_cast<const T*>(b.in[1]);
  float *dw = static_cast<float*>(b.out[0]), *scratch = static_cast<float*>(b.workspace);
  const std::int64_t pieces = static_cast<std::int64_t>(s.taps.size()) * s.parts();
  winograd::share_out(s.workers, pieces, [&](std::int64_t worker, std::int64_t piece) {
    const std::int64_t o = piece % s.parts() * kOutputs;
    sum_tap(s, piece / s.parts(), o, std::min(kOutputs, s.c.O - o), x, dy, dw,
            scratch + worker * s.scratch_floats());
  });
}

}  // namespace

bool supports(const Conv2dShape& c) {
  return c.groups == 1 && c.I % kWholeVectors == 0 && c.O % kWholeVectors == 0 &&
         c.P() * c.Q() <= kMostPixels && c.P() * c.Q() > 0 && c.H * c.W <= 4 * kMostPixels;
}

Plan conv2d(const Conv2dShape& c) { return plan(c, false); }
Plan conv2d_data_gradient(const Conv2dShape& c) { return plan(c, true); }

Plan conv2d_weight_gradient(const Conv2dShape& c) {
  Sums s{&TAPESCOPE_ISA_TABLE(winograd_kernels), c, {}, 1};
  for (std::int64_t tap = 0; tap < c.KH * c.KW; ++tap) s.taps.push_back(joined_by(c, tap));
  s.workers =
      std::min<std::int64_t>(thread_count(), static_cast<std::int64_t>(s.taps.size()) * s.parts());
  return Plan("by_tap", bytes(s.workers * s.scratch_floats()),
              [s = std::move(s)](const Queue&, const Buffers& b) {
                s.c.dtype == DType::bf16 ? sum_all<bf16>(s, b) : sum_all<float>(s, b);
              });
}

}  // namespace tapescope::by_tap
