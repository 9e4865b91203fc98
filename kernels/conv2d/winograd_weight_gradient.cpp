#include <algorithm>
#include <vector>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/conv2d/chunks.h"
#include "kernels/conv2d/simd.h"
#include "kernels/conv2d/winograd.h"
#include "kernels/conv2d/winograd_tiles.h"

namespace tapescope::winograd {
namespace {

constexpr std::int64_t kElements = 36;  // of a transformed tile

struct Problem {
  const WinogradKernels* kernels;
  const WinogradTransforms* transforms;
  std::int64_t N, H, W, I, P, Q, O, pad_h, pad_w, pieces;

  std::int64_t taps() const { return transforms->taps * transforms->taps; }

  std::int64_t padded_I() const { return padded(I, kernels->width); }
  std::int64_t padded_O() const { return padded(O, kernels->width); }
  // Of the sums: from element to element.
  std::int64_t m_element() const { return apart(O * padded_I()); }
  std::int64_t sum_floats() const { return kElements * m_element(); }
  Tiles tiles(std::int64_t images) const { return {images, P, Q, transforms->tile}; }
  Tiles tiles() const { return tiles(N); }
  // The tiles of a piece's images; without pieces there is one, of all.
  RowRange tiles_of(std::int64_t piece) const {
    const RowRange images = piece_of(N, piece, std::max<std::int64_t>(1, pieces));
    const std::int64_t each = tiles(1).count();
    return {images.first * each, images.count * each};
  }
};

// Transforms tiles [first, first + count): v {36, count, I} and d {36, count, O}, of which
// elements lie v_element and d_element floats apart.
void transform(const Problem& p, const Tiles& tiles, std::int64_t first, std::int64_t count,
               const float* x, const float* dy, float* v, std::int64_t v_element, float* d,
               std::int64_t d_element) {
  const WinogradTransforms& transforms = *p.transforms;
  const std::int64_t I = p.padded_I(), O = p.padded_O();
  parallel_for(count, [&](std::int64_t t) {
    const Tiles::Place at = tiles[first + t];
    transforms.image(x + at.n * p.H * p.W * p.I, p.H, p.W, p.I, at.p - p.pad_h, at.q - p.pad_w,
                     v + t * I, v_element, p.kernels->width);
    transforms.gradient(dy + at.n * p.P * p.Q * p.O, p.P, p.Q, p.O, at.p, at.q, d + t * O,
                        d_element);
  });
}

// --- the tiles are cut into chunks, each with sums of its own, {36, O, I}

// What the chunks of a piece add up to is transformed before pieces are added. How a piece is cut
// depends on the piece alone.
struct Cut : Chunks {        // of tiles
  std::int64_t block = 1;    // tiles transformed at a time
  std::int64_t workers = 1;  // pieces of scratch memory: how many may run at once

  std::int64_t v_element(const Problem& p) const { return apart(block * p.padded_I()); }
  std::int64_t d_element(const Problem& p) const { return apart(block * p.padded_O()); }
  std::int64_t scratch_floats(const Problem& p) const {
    return kElements * (v_element(p) + d_element(p));
  }
  // Behind sums and scratch: partial gradients {O, levels - 1, taps, I}.
  std::int64_t level_floats(const Problem& p) const {
    return (piece_levels(pieces()) - 1) * p.taps() * p.I;
  }
};

constexpr std::int64_t kMostChunks = 16, kMostChunksOfPiece = 4;
constexpr std::int64_t kLeastTiles = 64;               // of a chunk: less is not worth its sums
constexpr std::int64_t kSumFloats = 12 * 1024 * 1024;  // all chunks' sums: 48 MiB

// Fewer chunks than this are done one by one, each in parallel.
constexpr std::int64_t kFewChunks = 4;

Cut cut_of(const Problem& p) {
  const std::int64_t most = p.pieces > 0 ? kMostChunksOfPiece : kMostChunks;
  Cut cut;
  for (std::int64_t piece = 0; piece < std::max<std::int64_t>(1, p.pieces); ++piece) {
    const RowRange tiles = p.tiles_of(piece);
    const std::int64_t chunks = std::max<std::int64_t>(
        1, std::min({most, tiles.count / kLeastTiles, kSumFloats / p.sum_floats()}));
    cut.first_chunk.push_back(cut.count());
    for (std::int64_t k = 0; k < chunks; ++k) {
      const std::int64_t begin = k * tiles.count / chunks, end = (k + 1) * tiles.count / chunks;
      cut.chunks.push_back({tiles.first + begin, end - begin});
    }
  }
  cut.first_chunk.push_back(cut.count());
  // The sums are read and written once per block: it is large where they are.
  const std::int64_t cached = 160 * 1024 / (kElements * (p.padded_I() + p.padded_O()));  // floats
  cut.block = std::clamp<std::int64_t>(cached, p.I * p.O >= 128 * 128 ? 64 : 32, 128);
  cut.workers = cut.count() < kFewChunks ? 1 : std::min<std::int64_t>(thread_count(), cut.count());
  return cut;
}

// m {36, O, I} += the products of tiles [first, first + count), at most a block.
void add_block(const Problem& p, const Cut& cut, std::int64_t first, std::int64_t count,
               const float* x, const float* dy, float* m, float* scratch) {
  const std::int64_t I = p.padded_I(), O = p.padded_O();
  const std::int64_t v_element = cut.v_element(p), d_element = cut.d_element(p);
  float* v = scratch;                          // {36, block, I}
  float* d = scratch + kElements * v_element;  // {36, block, O}
  // Inside a worker these loops run on its thread; where there is one worker, on all of them.
  transform(p, p.tiles(), first, count, x, dy, v, v_element, d, d_element);
  parallel_for(kElements, [&](std::int64_t e) {
    add_products(*p.kernels, count, d + e * d_element, O, p.O, v + e * v_element, I,
                 m + e * p.m_element(), I);
  });
}

void run_chunks(const Problem& p, const Cut& cut, const float* x, const float* dy, float* dw,
                float* workspace) {
  const std::int64_t sum_floats = p.sum_floats();
  float* scratch = workspace + cut.count() * sum_floats;
  float* levels = scratch + cut.workers * cut.scratch_floats(p);
  share_out(cut.workers, cut.count(), [&](std::int64_t worker, std::int64_t chunk) {
    float* m = workspace + chunk * sum_floats;
    std::fill_n(m, p.sum_floats(), 0.0f);
    const RowRange tiles = cut.chunks[static_cast<std::size_t>(chunk)];
    for (std::int64_t t = 0; t < tiles.count; t += cut.block) {
      add_block(p, cut, tiles.first + t, std::min(cut.block, tiles.count - t), x, dy, m,
                scratch + worker * cut.scratch_floats(p));
    }
  });
  const std::int64_t I = p.padded_I(), row = p.taps() * p.I;
  parallel_for(p.O, [&](std::int64_t o) {
    const auto buffer = [&](int level) {
      return level == 0 ? dw + o * row : levels + o * cut.level_floats(p) + (level - 1) * row;
    };
    const auto make = [&](std::int64_t piece, int level) {
      const auto k = static_cast<std::size_t>(piece);
      float* const sums = workspace + cut.first_chunk[k] * sum_floats;
      const std::int64_t chunks = cut.first_chunk[k + 1] - cut.first_chunk[k];
      for (std::int64_t e = 0; e < kElements; ++e) {
        float* to = sums + e * p.m_element() + o * I;
        for (std::int64_t chunk = 1; chunk < chunks; ++chunk) {
          const float* from = to + chunk * sum_floats;
          for (std::int64_t i = 0; i < I; ++i) to[i] += from[i];
        }
      }
      p.transforms->weight_gradient(sums + o * I, p.m_element(), p.I, buffer(level));
    };
    sum_pieces(cut.pieces(), make, [&](int to, int from) {
      for (std::int64_t i = 0; i < row; ++i) buffer(to)[i] += buffer(from)[i];
    });
  });
}

Plan plan_of_chunks(const Problem& p) {
  Cut cut = cut_of(p);
  const std::int64_t floats = cut.count() * p.sum_floats() + cut.workers * cut.scratch_floats(p) +
                              p.O * cut.level_floats(p);
  return Plan("winograd", static_cast<std::size_t>(floats) * sizeof(float),
              [p, cut = std::move(cut)](const Queue&, const Buffers& b) {
                run_chunks(p, cut, static_cast<const float*>(b.in[0]),
                           static_cast<const float*>(b.in[1]), static_cast<float*>(b.out[0]),
                           static_cast<float*>(b.workspace));
              });
}

// --- many channels and few tiles, in pieces: sums of all of them for each piece would be read and
// written many times. All tiles are transformed first; then a block of the gradient, a few outputs
// by a few inputs, is made of all pieces while it is in cache.

constexpr std::int64_t kBlockO = 28, kBlockI = 128;

struct Blocks {
  std::int64_t count_O, count_I, workers;

  explicit Blocks(const Problem& p)
      : count_O(blocks(p.O, kBlockO)), count_I(blocks(p.padded_I(), kBlockI)) {
    workers = std::min<std::int64_t>(thread_count(), count_O * count_I);
  }
  static std::int64_t scratch_floats(const Problem& p) {  // sums {36, O, I} and levels {O, taps, I}
    return kElements * apart(kBlockO * kBlockI) +
           kBlockO * kBlockI * piece_levels(p.pieces) * p.taps();
  }
};

// Outputs [o, o + outputs) by inputs [i, i + inputs), the latter whole vectors.
void run_block(const Problem& p, std::int64_t o, std::int64_t outputs, std::int64_t i,
               std::int64_t inputs, const float* v, const float* d, float* dw, float* scratch) {
  const WinogradKernels& kernels = *p.kernels;
  const std::int64_t I = p.padded_I(), O = p.padded_O(), all = p.tiles().count();
  const std::int64_t level_floats = kBlockO * p.taps() * kBlockI;
  const std::int64_t true_inputs = std::min(inputs, p.I - i), row = p.taps() * true_inputs;
  float* const m = scratch;  // {36, outputs, inputs}
  float* const levels = scratch + kElements * apart(kBlockO * kBlockI);
  const std::int64_t v_element = apart(all * I), d_element = apart(all * O);
  const std::int64_t m_element = apart(outputs * inputs);
  const auto make = [&](std::int64_t piece, int level) {
    const RowRange tiles = p.tiles_of(piece);
    for (std::int64_t e = 0; e < kElements; ++e) {
      const float* from_d = d + e * d_element + tiles.first * O + o;
      const float* from_v = v + e * v_element + tiles.first * I + i;
      float* to = m + e * m_element;
      std::fill_n(to, m_element, 0.0f);
      const std::int64_t panels = blocks(outputs, kernels.rows);
      for (std::int64_t j = 0; j < inputs; j += kernels.columns) {
        const std::int64_t vectors = std::min(kernels.columns, inputs - j) / kernels.width;
        for (std::int64_t panel = 0; panel < panels; ++panel) {
          const std::int64_t r = panel * outputs / panels;
          kernels.accumulate((panel + 1) * outputs / panels - r, vectors, tiles.count, from_d + r,
                             O, from_v + j, I, to + r * inputs + j, inputs);
        }
      }
    }
    for (std::int64_t r = 0; r < outputs; ++r) {
      p.transforms->weight_gradient(m + r * inputs, m_element, true_inputs,
                                    levels + level * level_floats + r * row);
    }
  };
  sum_pieces(p.pieces, make, [&](int to, int from) {
    float* const a = levels + to * level_floats;
    const float* const b = levels + from * level_floats;
    for (std::int64_t k = 0; k < outputs * row; ++k) a[k] += b[k];
  });
  for (std::int64_t r = 0; r < outputs; ++r) {
    for (std::int64_t tap = 0; tap < p.taps(); ++tap) {
      std::copy_n(levels + r * row + tap * true_inputs, true_inputs,
                  dw + ((o + r) * p.taps() + tap) * p.I + i);
    }
  }
}

Plan plan_of_blocks(const Problem& p) {
  const Blocks shape(p);
  const std::int64_t all = p.tiles().count();
  const std::int64_t v_element = apart(all * p.padded_I()), d_element = apart(all * p.padded_O());
  const std::int64_t floats =
      kElements * (v_element + d_element) + shape.workers * Blocks::scratch_floats(p);
  return Plan("winograd", static_cast<std::size_t>(floats) * sizeof(float),
              [=](const Queue&, const Buffers& b) {
                float *v = static_cast<float*>(b.workspace), *d = v + kElements * v_element;
                transform(p, p.tiles(), 0, all, static_cast<const float*>(b.in[0]),
                          static_cast<const float*>(b.in[1]), v, v_element, d, d_element);
                float* const scratch = d + kElements * d_element;
                share_out(shape.workers, shape.count_O * shape.count_I,
                          [&](std::int64_t worker, std::int64_t block) {
                            const std::int64_t o = block / shape.count_I * kBlockO;
                            const std::int64_t i = block % shape.count_I * kBlockI;
                            run_block(p, o, std::min(kBlockO, p.O - o), i,
                                      std::min(kBlockI, p.padded_I() - i), v, d,
                                      static_cast<float*>(b.out[0]),
                                      scratch + worker * Blocks::scratch_floats(p));
                          });
              });
}

}  // namespace

// With 16 channels on both sides oneDNN takes 1.2 times as long (AVX-512), 1.7 times (AVX2).
bool supports_conv2d_weight_gradient(const Conv2dShape& c) {
  return fits(c) && c.I >= 16 && c.O >= 16 && c.P() >= 3 && c.Q() >= 3;
}

Plan conv2d_weight_gradient(const Conv2dShape& c) {
  Problem p{};
  p.kernels = &TAPESCOPE_ISA_TABLE(winograd_kernels);
  p.transforms = &transforms_of(c, *p.kernels);
  p.N = c.N, p.H = c.H, p.W = c.W, p.I = c.I, p.P = c.P(), p.Q = c.Q(), p.O = c.O;
  p.pad_h = c.pad_h, p.pad_w = c.pad_w, p.pieces = c.pieces;
  // By the shape of an image alone: all pieces are summed alike. Transforms of many tiles would not
  // stay in cache.
  const bool by_blocks = c.pieces > 0 && c.I * c.O >= 64 * 64 && p.tiles(1).count() <= 16;
  return by_blocks ? plan_of_blocks(p) : plan_of_chunks(p);
}

}  // namespace tapescope::winograd
