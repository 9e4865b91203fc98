#include <algorithm>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/conv2d/simd.h"
#include "kernels/conv2d/winograd.h"
#include "kernels/conv2d/winograd_tiles.h"

namespace tapescope::winograd {
namespace {

constexpr std::int64_t kTile = 4;       // a tile is 4x4 outputs
constexpr std::int64_t kElements = 36;  // of a transformed tile

// The sum over all tiles is cut into chunks, each with sums of its own, {36, O, I}, which are added
// in order at the end. The cut depends on the shape alone.
struct Problem {
  const WinogradKernels* kernels;
  std::int64_t N, H, W, I, P, Q, O, pad_h, pad_w;

  std::int64_t chunks = 1;   // of the tiles
  std::int64_t block = 1;    // tiles transformed at a time
  std::int64_t workers = 1;  // pieces of scratch memory: how many may run at once
  std::int64_t padded_I() const { return padded(I, kernels->width); }
  std::int64_t padded_O() const { return padded(O, kernels->width); }
  std::int64_t sum_floats() const { return kElements * O * padded_I(); }
  std::int64_t scratch_floats() const { return kElements * block * (padded_I() + padded_O()); }
};

constexpr std::int64_t kMostChunks = 16;
constexpr std::int64_t kLeastTiles = 64;               // of a chunk: less is not worth its sums
constexpr std::int64_t kSumFloats = 12 * 1024 * 1024;  // all chunks' sums: 48 MiB

// Fewer chunks than this are done one by one, each in parallel.
constexpr std::int64_t kFewChunks = 4;

void cut(Problem& p) {
  const std::int64_t tiles = Tiles(p.N, p.P, p.Q, kTile).count();
  p.chunks = std::max<std::int64_t>(
      1, std::min({kMostChunks, tiles / kLeastTiles, kSumFloats / p.sum_floats()}));
  // The sums are read and written once per block: it is large where they are.
  const std::int64_t cached = 160 * 1024 / (kElements * (p.padded_I() + p.padded_O()));  // floats
  p.block = std::clamp<std::int64_t>(cached, p.I * p.O >= 128 * 128 ? 64 : 32, 128);
  p.workers = p.chunks < kFewChunks ? 1 : std::min<std::int64_t>(thread_count(), p.chunks);
}

// m {36, O, I} += the products of tiles [first, first + count).
void add_block(const Problem& p, const Tiles& tiles, std::int64_t first, std::int64_t count,
               const float* x, const float* dy, float* m, float* scratch) {
  const WinogradKernels& kernels = *p.kernels;
  const std::int64_t I = p.padded_I(), O = p.padded_O(), width = kernels.width;
  float* v = scratch;                            // {36, block, I}
  float* d = scratch + kElements * p.block * I;  // {36, block, O}
  // Inside a worker these loops run on its thread; where there is one worker, on all of them.
  parallel_for(count, [&](std::int64_t t) {
    const Tiles::Place at = tiles[first + t];
    kernels.large.image(x + at.n * p.H * p.W * p.I, p.H, p.W, p.I, at.p - p.pad_h, at.q - p.pad_w,
                        v + t * I, p.block * I, width);
    kernels.transform_gradient(dy + at.n * p.P * p.Q * p.O, p.P, p.Q, p.O, at.p, at.q, d + t * O,
                               p.block * O);
  });
  parallel_for(kElements, [&](std::int64_t e) {
    add_products(kernels, count, d + e * p.block * O, O, p.O, v + e * p.block * I, I,
                 m + e * p.O * I, I);
  });
}

void run(const Problem& p, const float* x, const float* dy, float* dw, float* workspace) {
  const Tiles tiles(p.N, p.P, p.Q, kTile);
  const std::int64_t sum_floats = padded(p.sum_floats(), 16);
  float* scratch = workspace + p.chunks * sum_floats;
  share_out(p.workers, p.chunks, [&](std::int64_t worker, std::int64_t chunk) {
    float* m = workspace + chunk * sum_floats;
    std::fill_n(m, p.sum_floats(), 0.0f);
    const std::int64_t end = (chunk + 1) * tiles.count() / p.chunks;
    for (std::int64_t t = chunk * tiles.count() / p.chunks; t < end; t += p.block) {
      add_block(p, tiles, t, std::min(p.block, end - t), x, dy, m,
                scratch + worker * padded(p.scratch_floats(), 16));
    }
  });
  const std::int64_t I = p.padded_I();
  parallel_for(p.O, [&](std::int64_t o) {
    for (std::int64_t e = 0; e < kElements; ++e) {
      float* to = workspace + (e * p.O + o) * I;
      for (std::int64_t chunk = 1; chunk < p.chunks; ++chunk) {
        const float* from = to + chunk * sum_floats;
        for (std::int64_t i = 0; i < I; ++i) to[i] += from[i];
      }
    }
    p.kernels->transform_weight_gradient(workspace + o * I, p.O * I, p.I, dw + o * 9 * p.I);
  });
}

}  // namespace

// With 16 channels on both sides oneDNN is as fast.
bool supports_conv2d_weight_gradient(const Conv2dShape& c) {
  return fits(c) && c.I >= 16 && c.O >= 16 && c.I + c.O > 32 && c.P() >= 3 && c.Q() >= 3;
}

Plan conv2d_weight_gradient(const Conv2dShape& c) {
  Problem p{};
  p.kernels = &TAPESCOPE_ISA_TABLE(winograd_kernels);
  p.N = c.N, p.H = c.H, p.W = c.W, p.I = c.I, p.P = c.P(), p.Q = c.Q(), p.O = c.O;
  p.pad_h = c.pad_h, p.pad_w = c.pad_w;
  cut(p);
  const std::int64_t floats =
      p.chunks * padded(p.sum_floats(), 16) + p.workers * padded(p.scratch_floats(), 16);
  return Plan("winograd", static_cast<std::size_t>(floats) * sizeof(float),
              [p](const Queue&, const Buffers& b) {
                run(p, static_cast<const float*>(b.in[0]), static_cast<const float*>(b.in[1]),
                    static_cast<float*>(b.out[0]), static_cast<float*>(b.workspace));
              });
}

}  // namespace tapescope::winograd
