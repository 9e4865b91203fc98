#include "kernels/conv2d/winograd.h"

#include <algorithm>
#include <limits>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/conv2d/simd.h"
#include "kernels/conv2d/winograd_tiles.h"

namespace tapescope::winograd {
namespace {

// A convolution of `in` {N, H, W, K} into `out` {N, P, Q, J}: forward, or the data gradient, whose
// input is dy. The sums run over K channels.
struct Problem {
  const WinogradKernels* kernels;
  const WinogradTransforms* transforms;
  std::int64_t N, H, W, K, P, Q, J, pad_h, pad_w;
  std::int64_t k_stride, j_stride, tap_stride;  // of the weights, in floats
  bool turned, bias;
  bool residual = false;
  float least = -std::numeric_limits<float>::infinity();
  float most = std::numeric_limits<float>::infinity();

  std::int64_t block = 0;    // tiles taken at a time
  std::int64_t workers = 0;  // pieces of scratch memory: how many may run at once
  std::int64_t padded_K() const { return padded(K, kernels->width); }
  std::int64_t padded_J() const { return padded(J, kernels->width); }
  std::int64_t elements() const { return transforms->elements; }
  // Of transformed tiles, weights and products: from element to element.
  std::int64_t v_element() const { return apart(block * padded_K()); }
  std::int64_t u_element() const { return apart(K * padded_J()); }
  std::int64_t m_element() const { return apart(block * padded_J()); }
  std::int64_t weight_floats() const { return elements() * u_element(); }
  std::int64_t scratch_floats() const { return elements() * (v_element() + m_element()); }
  Tiles tiles() const { return {N, P, Q, transforms->tile}; }
};

// Fewer blocks than this are done one by one, each in parallel.
constexpr std::int64_t kFewBlocks = 4;

// Blocks of tiles whose transforms stay in the second cache; where the weights do not fit there
// either, larger ones, so that reading the weights is shared by more tiles.
void choose_block(Problem& p) {
  const std::int64_t cached =
      160 * 1024 / (p.elements() * (p.padded_K() + p.padded_J()));  // floats
  const std::int64_t rows = p.kernels->rows;
  std::int64_t panels = std::max<std::int64_t>(1, cached / rows);
  if (p.K * p.J > 128 * 128) panels = std::max<std::int64_t>(panels, blocks(56, rows));
  p.block = rows * std::min<std::int64_t>(panels, blocks(112, rows));
  const std::int64_t tiles = p.tiles().count();
  p.block = std::max<std::int64_t>(1, std::min(p.block, tiles));
  // Bits do not depend on it: a worker takes whichever block is next, and blocks are independent.
  const std::int64_t count = blocks(tiles, p.block);
  p.workers = count < kFewBlocks ? 1 : std::min<std::int64_t>(thread_count(), count);
}

void transform_weights(const Problem& p, const float* w, float* u) {
  const std::int64_t columns = p.kernels->columns;
  parallel_for(blocks(p.J, columns), [&](std::int64_t i) {
    const std::int64_t j = i * columns;
    p.transforms->weights(w + j * p.j_stride, p.K, std::min(columns, p.J - j),
                          std::min(columns, p.padded_J() - j), p.k_stride, p.j_stride, p.tap_stride,
                          p.turned, u + j * p.K, p.u_element());
  });
}

// Tiles [first, first + count). v {36, panels, K / width, panel rows, width}, m {36, count, J}.
void run_block(const Problem& p, const Tiles& tiles, std::int64_t first, std::int64_t count,
               const float* in, const float* u, const OutputEpilogue& then, float* out,
               float* scratch) {
  const WinogradKernels& kernels = *p.kernels;
  const std::int64_t padded_K = p.padded_K(), padded_J = p.padded_J(), width = kernels.width;
  const std::int64_t v_element = p.v_element(), m_element = p.m_element();
  float* v = scratch;
  float* m = scratch + p.elements() * v_element;
  // Panels of nearly equal height waste no rows.
  const std::int64_t panels = blocks(count, kernels.rows);
  const auto panel_begin = [&](std::int64_t panel) { return panel * count / panels; };

  // Inside a worker these loops run on its thread; where there is one worker, on all of them.
  parallel_for(panels, [&](std::int64_t panel) {
    const std::int64_t begin = panel_begin(panel), rows = panel_begin(panel + 1) - begin;
    for (std::int64_t r = 0; r < rows; ++r) {
      const Tiles::Place at = tiles[first + begin + r];
      p.transforms->image(in + at.n * p.H * p.W * p.K, p.H, p.W, p.K, at.p - p.pad_h,
                          at.q - p.pad_w, v + begin * padded_K + r * width, v_element,
                          rows * width);
    }
  });
  parallel_for(p.elements(), [&](std::int64_t e) {
    for (std::int64_t j = 0; j < padded_J; j += kernels.columns) {
      const std::int64_t vectors = std::min<std::int64_t>(2, (padded_J - j) / width);
      for (std::int64_t panel = 0; panel < panels; ++panel) {
        const std::int64_t begin = panel_begin(panel), rows = panel_begin(panel + 1) - begin;
        kernels.multiply(rows, vectors, p.K, v + e * v_element + begin * padded_K,
                         u + e * p.u_element() + j * p.K, m + e * m_element + begin * padded_J + j,
                         padded_J);
      }
    }
  });
  parallel_for(panels, [&](std::int64_t panel) {
    for (std::int64_t t = panel_begin(panel); t < panel_begin(panel + 1); ++t) {
      const Tiles::Place at = tiles[first + t];
      const std::int64_t first_output = ((at.n * p.P + at.p) * p.Q + at.q) * p.J;
      OutputEpilogue here = then;
      if (p.residual) here.residual += first_output;
      p.transforms->output(m + t * padded_J, m_element, p.J, here, out + first_output, p.Q * p.J,
                           std::min(p.transforms->tile, p.P - at.p),
                           std::min(p.transforms->tile, p.Q - at.q));
    }
  });
}

void run(const Problem& p, const float* in, const float* u, const OutputEpilogue& then, float* out,
         float* scratch) {
  const Tiles tiles = p.tiles();
  share_out(p.workers, blocks(tiles.count(), p.block), [&](std::int64_t worker, std::int64_t i) {
    const std::int64_t first = i * p.block;
    run_block(p, tiles, first, std::min(p.block, tiles.count() - first), in, u, then, out,
              scratch + worker * padded(p.scratch_floats(), 16));
  });
}

struct Kernel {
  Problem p;

  std::int64_t all_scratch() const { return p.workers * padded(p.scratch_floats(), 16); }
  void pack(const Queue&, const void* weights, void* packed) const {
    transform_weights(p, static_cast<const float*>(weights), static_cast<float*>(packed));
  }
  void operator()(const Queue& queue, const Buffers& b) const {
    float* scratch = static_cast<float*>(b.workspace);
    if (b.packed == nullptr) pack(queue, b.in[1], scratch + all_scratch());
    const void* u = b.packed != nullptr ? b.packed : scratch + all_scratch();
    const OutputEpilogue then{p.bias ? static_cast<const float*>(b.in[2]) : nullptr,
                              p.residual ? static_cast<const float*>(b.in[3]) : nullptr, p.least,
                              p.most};
    run(p, static_cast<const float*>(b.in[0]), static_cast<const float*>(u), then,
        static_cast<float*>(b.out[0]), scratch);
  }
};

Plan plan(Problem p) {
  choose_block(p);
  const Kernel kernel{p};
  const auto bytes = [](std::int64_t floats) {
    return static_cast<std::size_t>(floats) * sizeof(float);
  };
  const std::size_t packed = bytes(padded(p.weight_floats(), 16));
  return Plan("winograd", bytes(kernel.all_scratch()) + packed, kernel,
              {p.turned                  ? "winograd, turned"
               : p.transforms->tile == 2 ? "winograd 2x2"
                                         : "winograd",
               packed});
}

Problem problem(const Conv2dShape& c) {
  Problem p{};
  p.kernels = &TAPESCOPE_ISA_TABLE(winograd_kernels);
  p.transforms = &transforms_of(c, *p.kernels);
  p.tap_stride = c.I;
  return p;
}
Problem forward(const Conv2dShape& c) {
  Problem p = problem(c);
  p.N = c.N, p.H = c.H, p.W = c.W, p.K = c.I, p.P = c.P(), p.Q = c.Q(), p.J = c.O;
  p.pad_h = c.pad_h, p.pad_w = c.pad_w, p.bias = c.bias;
  p.k_stride = 1, p.j_stride = c.KH * c.KW * c.I;
  return p;
}
Problem fused(const FusedConv2dShape& f) {
  Problem p = forward(f.conv);
  p.residual = f.residual;
  p.least = static_cast<float>(f.least), p.most = static_cast<float>(f.most);
  return p;
}

// With few channels the transforms cost more than the products save, with 5x5 taps sooner: a tile
// is four outputs.
bool pays(const Conv2dShape& c) {
  return fits(c) && c.I >= 16 && c.O >= 16 && (c.KH == 3 || c.I + c.O > 32);
}

}  // namespace

// On maps of less than a tile most of the tile is padding.
bool supports_conv2d(const Conv2dShape& c) { return pays(c) && c.P() >= 3 && c.Q() >= 3; }
bool supports_conv2d_data_gradient(const Conv2dShape& c) { return pays(c) && c.H >= 3 && c.W >= 3; }

// Where the map is small and the weights are large, reading what F(4x4, 3x3) makes of these, four
// times as much, takes longer than its multiplications.
bool supports_conv2d_small(const FusedConv2dShape& f) {
  const Conv2dShape& c = f.conv;
  return c.KH == 3 && supports_conv2d(c) && c.P() * c.Q() <= 16 * 16 && c.I * c.O >= 256 * 256;
}

Plan conv2d(const Conv2dShape& c) { return plan(forward(c)); }
Plan conv2d_fused(const FusedConv2dShape& f) { return plan(fused(f)); }
Plan conv2d_fused_small(const FusedConv2dShape& f) {
  Problem p = fused(f);
  p.transforms = &p.kernels->f2x2_3x3;
  return plan(p);
}

Plan conv2d_data_gradient(const Conv2dShape& c) {
  Problem p = problem(c);
  p.N = c.N, p.H = c.P(), p.W = c.Q(), p.K = c.O, p.P = c.H, p.Q = c.W, p.J = c.I;
  p.pad_h = c.KH - 1 - c.pad_h, p.pad_w = c.KW - 1 - c.pad_w, p.turned = true;
  p.k_stride = c.KH * c.KW * c.I, p.j_stride = 1;
  return plan(p);
}

}  // namespace tapescope::winograd
