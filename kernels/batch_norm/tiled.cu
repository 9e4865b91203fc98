// Batch normalisation in tiles: `tiled`.
//
// A thread takes 16 bytes of channels (one channel where they do not lie so) and goes down the
// rows; up to 32 such packs and 8 or more rows make a block, so that neighbouring threads read
// neighbouring bytes and what belongs to a channel is read once and stays in registers. Statistics
// need one look at x: a thread takes four rows at a time, finds their mean and spread in registers,
// and merges them into what it has (Chan, Golub and LeVeque, 1979); threads of a block, and then
// tiles of rows, are merged in trees, the latter in double. No sum of squares is taken about
// anything but a mean, so large means cost no digits.
#include "kernels/batch_norm/rungs.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

using namespace batch_norm;

constexpr int kMerged =
    32;  // channels, and at most as many tiles side by side, that a block merges

// The place of a thread: blockDim is {packs, rows side by side}, blockIdx {packs, tiles of rows}.
template <int Width>
struct Place {
  std::int64_t c, begin, end, step;  // channel; rows begin, begin + step, ... below end
  __device__ Place(std::int64_t rows, std::int64_t C, std::int64_t tile_rows)
      : c((std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * Width),
        begin(blockIdx.y * tile_rows + threadIdx.y),
        end(c < C ? min(rows, (blockIdx.y + 1) * tile_rows) : 0),
        step(blockDim.y) {}
};

// `count` numbers of each of Width channels: their mean is centre + mean, and `squares` the sum of
// squared distances from it. A centre is any number near them: what is left of the mean is small,
// and keeps its digits.
template <int Width>
struct Spread {
  float count = 0;
  float centre[Width] = {}, mean[Width] = {}, squares[Width] = {};

  // Takes numbers of channel k in, of that mean about the same centre; `share` of all are these.
  // The count is the caller's.
  __device__ void merge(int k, float share, float other_mean, float other_squares) {
    const float apart = other_mean - mean[k];
    mean[k] += apart * share;
    squares[k] += other_squares + apart * apart * (count * share);
  }
};
// The numbers of G rows, `apart` elements apart.
template <int G, class T, int Width>
__device__ void add_rows(Spread<Width>& spread, const T* x, std::int64_t apart) {
  Pack<T, Width> packs[G];
  TAPESCOPE_UNROLL
  for (int g = 0; g < G; ++g) packs[g] = load_pack<T, Width>(x + g * apart);
  if (spread.count == 0) widened(packs[0], spread.centre);
  const float share = G / (spread.count + G);
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) {
    float centred[G], mean = 0, squares = 0;
    TAPESCOPE_UNROLL
    for (int g = 0; g < G; ++g) {
      centred[g] = static_cast<float>(packs[g][k]) - spread.centre[k];
      mean += centred[g];
    }
    mean *= 1.0f / G;
    TAPESCOPE_UNROLL
    for (int g = 0; g < G; ++g) squares += (centred[g] - mean) * (centred[g] - mean);
    spread.merge(k, share, mean, squares);
  }
  spread.count += G;
}

// moments: {tiles, C}
template <class T, int Width>
__global__ void __launch_bounds__(kThreads)
    tile_moments(const T* x, Moments* moments, std::int64_t rows, std::int64_t C,
                 std::int64_t tile_rows) {
  TAPESCOPE_SHARED(float, counts, [kThreads]);
  TAPESCOPE_SHARED(float, shared, [3][Width][kThreads]);
  const Place<Width> at(rows, C, tile_rows);
  Spread<Width> spread;
  const T* from = x + at.begin * C + at.c;
  const std::int64_t apart = at.step * C;
  std::int64_t r = at.begin;
  for (; r + 3 * at.step < at.end; r += 4 * at.step, from += 4 * apart) {
    add_rows<4>(spread, from, apart);
  }
  for (; r < at.end; r += at.step, from += apart) add_rows<1>(spread, from, apart);

  // Of two halves of the block's rows one takes what the other has, down to one row.
  const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
  unsigned half = 1;
  while (half * 2 < blockDim.y) half *= 2;
  for (; half > 0; half /= 2) {
    if (threadIdx.y >= half && threadIdx.y < half * 2) {
      counts[thread] = spread.count;
      TAPESCOPE_UNROLL
      for (int k = 0; k < Width; ++k) {
        shared[0][k][thread] = spread.centre[k];
        shared[1][k][thread] = spread.mean[k];
        shared[2][k][thread] = spread.squares[k];
      }
    }
    __syncthreads();
    const unsigned other = thread + half * blockDim.x;
    if (threadIdx.y < half && threadIdx.y + half < blockDim.y && counts[other] > 0) {
      const float count = counts[other], share = count / (spread.count + count);
      TAPESCOPE_UNROLL
      for (int k = 0; k < Width; ++k) {
        const float mean = shared[0][k][other] - spread.centre[k] + shared[1][k][other];
        spread.merge(k, share, mean, shared[2][k][other]);
      }
      spread.count += count;
    }
    __syncthreads();
  }
  if (threadIdx.y != 0 || at.c >= C) return;
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) {
    moments[blockIdx.y * C + at.c + k] = {
        spread.count, static_cast<double>(spread.centre[k]) + static_cast<double>(spread.mean[k]),
        spread.squares[k]};
  }
}

// What the threads of a column of a block {32, up to 32} have, merged by `merge` into the first
// row's, in the order of a tree.
template <class Part, class Merge>
__device__ Part merged_column(Part mine, Part (*shared)[kMerged], Merge&& merge) {
  for (unsigned half = kMerged / 2; half > 0; half /= 2) {
    if (threadIdx.y >= half && threadIdx.y < half * 2) shared[threadIdx.y][threadIdx.x] = mine;
    __syncthreads();
    if (threadIdx.y < half && threadIdx.y + half < blockDim.y) {
      mine = merge(mine, shared[threadIdx.y + half][threadIdx.x]);
    }
    __syncthreads();
  }
  return mine;
}

// What an element becomes: (x - mean) * factor + offset.
struct Channel {
  float mean, factor, offset;
};
// A block of {32 channels, tiles side by side}.
template <class T>
__global__ void merge_moments(const Moments* moments, const float* scale, const float* shift,
                              float* mean, float* variance, Channel* channels, Relu<T> relu,
                              std::int64_t tiles, std::int64_t rows, std::int64_t C, double eps) {
  TAPESCOPE_SHARED(Moments, shared, [kMerged][kMerged]);
  const std::int64_t c = std::int64_t{blockIdx.x} * kMerged + threadIdx.x;
  Moments all{0, 0, 0};
  for (std::int64_t tile = threadIdx.y; tile < tiles && c < C; tile += blockDim.y) {
    all = merged(all, moments[tile * C + c]);
  }
  all = merged_column(all, shared, [](Moments a, Moments b) { return merged(a, b); });
  if (threadIdx.y != 0 || c >= C) return;
  const double spread = all.squares / static_cast<double>(rows);
  mean[c] = static_cast<float>(all.mean);
  variance[c] = static_cast<float>(spread);
  const Channel channel = {
      static_cast<float>(all.mean),
      static_cast<float>(static_cast<double>(number_or(scale, c, 1)) / sqrt(spread + eps)),
      number_or(shift, c, 0)};
  channels[c] = channel;
  if (relu.on) {
    relu.factor[c] = channel.factor;
    relu.offset[c] = channel.offset;
  }
}

// Where a channel's numbers come from: training has them ready, inference makes them.
struct Ready {
  const Channel* channels;  // {C}
  __device__ Channel operator()(std::int64_t c) const { return channels[c]; }
};
struct Made {
  const float *scale, *shift, *mean, *variance;  // {C}, the first two or null
  float eps;
  __device__ Channel operator()(std::int64_t c) const {
    return {number(mean, c), number_or(scale, c, 1) / sqrt(number(variance, c) + eps),
            number_or(shift, c, 0)};
  }
};
template <class T, int Width, bool relu, class From>
__global__ void __launch_bounds__(kThreads)
    normalise(const T* x, From from, T* y, const T* residual, std::int64_t rows, std::int64_t C,
              std::int64_t tile_rows) {
  const Place<Width> at(rows, C, tile_rows);
  if (at.begin >= at.end) return;
  Channel channel[Width];
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) channel[k] = from(at.c + k);
  std::int64_t i = at.begin * C + at.c;
  for (std::int64_t r = at.begin; r < at.end; r += at.step, i += at.step * C) {
    const auto v = load_pack<T, Width>(x + i);
    Pack<T, Width> other = {};
    if (relu && residual != nullptr) other = load_pack<T, Width>(residual + i);
    float values[Width];
    TAPESCOPE_UNROLL
    for (int k = 0; k < Width; ++k) {
      float z = normalised(static_cast<float>(v[k]), channel[k].mean, channel[k].factor,
                           channel[k].offset);
      if (relu && residual != nullptr) z += static_cast<float>(other[k]);
      values[k] = relu && z < 0 ? 0.0f : z;
    }
    store_pack(y + i, rounded<T>(values));
  }
}

// What of dy counts, and the x that it belongs to.
template <class T, int Width, bool masked>
struct Counted {
  float mean[Width], factor[Width], offset[Width];
  __device__ Counted(const Passed<T>& dy, std::int64_t c) {
    TAPESCOPE_UNROLL
    for (int k = 0; k < Width; ++k) {
      mean[k] = number(dy.mean, c + k);
      factor[k] = masked ? number(dy.factor, c + k) : 0;
      offset[k] = masked ? number(dy.offset, c + k) : 0;
    }
  }
  __device__ float operator()(int k, float dy, float x) const {
    return !masked || normalised(x, mean[k], factor[k], offset[k]) > 0 ? dy : 0.0f;
  }
};

// sums: {tiles, C}
template <class T, int Width, bool masked>
__global__ void __launch_bounds__(kThreads)
    tile_sums(Passed<T> passed, const float* variance, Sums* sums, std::int64_t rows,
              std::int64_t C, std::int64_t tile_rows, double eps) {
  TAPESCOPE_SHARED(float, shared, [2][Width][kThreads]);
  const Place<Width> at(rows, C, tile_rows);
  float sum[Width] = {}, product[Width] = {};
  if (at.begin < at.end) {
    const Counted<T, Width, masked> counts(passed, at.c);
    std::int64_t i = at.begin * C + at.c;
    for (std::int64_t r = at.begin; r < at.end; r += at.step, i += at.step * C) {
      const auto dy = load_pack<T, Width>(passed.dy + i), x = load_pack<T, Width>(passed.x + i);
      TAPESCOPE_UNROLL
      for (int k = 0; k < Width; ++k) {
        const float v = static_cast<float>(x[k]), d = counts(k, static_cast<float>(dy[k]), v);
        sum[k] += d;
        product[k] += d * (v - counts.mean[k]);
      }
    }
  }
  const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
  unsigned half = 1;
  while (half * 2 < blockDim.y) half *= 2;
  for (; half > 0; half /= 2) {
    if (threadIdx.y >= half && threadIdx.y < half * 2) {
      TAPESCOPE_UNROLL
      for (int k = 0; k < Width; ++k) {
        shared[0][k][thread] = sum[k];
        shared[1][k][thread] = product[k];
      }
    }
    __syncthreads();
    if (threadIdx.y < half && threadIdx.y + half < blockDim.y) {
      TAPESCOPE_UNROLL
      for (int k = 0; k < Width; ++k) {
        sum[k] += shared[0][k][thread + half * blockDim.x];
        product[k] += shared[1][k][thread + half * blockDim.x];
      }
    }
    __syncthreads();
  }
  if (threadIdx.y != 0 || at.c >= C) return;
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) {
    const double inverse = 1 / sqrt(static_cast<double>(number(variance, at.c + k)) + eps);
    sums[blockIdx.y * C + at.c + k] = {sum[k], static_cast<double>(product[k]) * inverse};
  }
}

// A block of {32 channels, tiles side by side}.
__global__ void merge_sums(const Sums* sums, const float* mean, const float* variance,
                           const float* scale, float* dscale, float* dshift,
                           GradientChannel* channels, std::int64_t tiles, std::int64_t rows,
                           std::int64_t C, double eps) {
  TAPESCOPE_SHARED(Sums, shared, [kMerged][kMerged]);
  const std::int64_t c = std::int64_t{blockIdx.x} * kMerged + threadIdx.x;
  const auto added = [](Sums a, Sums b) { return Sums{a.dy + b.dy, a.product + b.product}; };
  Sums all{0, 0};
  for (std::int64_t tile = threadIdx.y; tile < tiles && c < C; tile += blockDim.y) {
    all = added(all, sums[tile * C + c]);
  }
  all = merged_column(all, shared, added);
  if (threadIdx.y != 0 || c >= C) return;
  channels[c] = gradient_channel(all, mean, variance, scale, dscale, dshift, c,
                                 static_cast<double>(rows), eps);
}

template <class T, int Width, bool masked>
__global__ void __launch_bounds__(kThreads)
    gradient_elements(Passed<T> passed, const GradientChannel* channels, T* dx, std::int64_t rows,
                      std::int64_t C, std::int64_t tile_rows) {
  const Place<Width> at(rows, C, tile_rows);
  if (at.begin >= at.end) return;
  const Counted<T, Width, masked> counts(passed, at.c);
  float mean_dy[Width], slope[Width], factor[Width];
  TAPESCOPE_UNROLL
  for (int k = 0; k < Width; ++k) {
    const GradientChannel g = channels[at.c + k];
    mean_dy[k] = g.mean_dy;
    slope[k] = g.inverse * g.mean_product;
    factor[k] = g.factor;
  }
  std::int64_t i = at.begin * C + at.c;
  for (std::int64_t r = at.begin; r < at.end; r += at.step, i += at.step * C) {
    const auto dy = load_pack<T, Width>(passed.dy + i), x = load_pack<T, Width>(passed.x + i);
    float values[Width];
    TAPESCOPE_UNROLL
    for (int k = 0; k < Width; ++k) {
      const float v = static_cast<float>(x[k]), d = counts(k, static_cast<float>(dy[k]), v);
      values[k] = factor[k] * (d - mean_dy[k] - (v - counts.mean[k]) * slope[k]);
    }
    store_pack(dx + i, rounded<T>(values));
  }
}

// --- host ---

// How {rows, C} is shared out between the threads of blocks, and those between tiles of rows.
struct Tiling {
  dim3 block;
  unsigned column_blocks;
  Tiling(const BatchNormShape& s, int width) {
    const std::int64_t packs = max<std::int64_t>(s.C / width, 1);
    block.x = static_cast<unsigned>(min<std::int64_t>(packs, kWarp));
    block.y = kThreads / block.x;
    column_blocks = static_cast<unsigned>(ceil_div<std::int64_t>(packs, block.x));
  }
  dim3 grid(std::int64_t tiles) const { return dim3(column_blocks, static_cast<unsigned>(tiles)); }
};
int widest(const BatchNormShape& s) {
  const int width = s.dtype == DType::bf16 ? kPackWidth<bf16> : kPackWidth<float>;
  return s.C % width == 0 ? width : 1;
}
// Rows of a tile whose statistics are merged by another launch: some hundred blocks in all, and at
// least four rows a thread, at most 128.
std::int64_t statistics_rows(const BatchNormShape& s) {
  constexpr std::int64_t kBlocks = 528;  // four for each multiprocessor of an H100
  const Tiling tiling(s, widest(s));
  const std::int64_t four = 4 * tiling.block.y;
  const std::int64_t rows = ceil_div<std::int64_t>(s.rows * tiling.column_blocks, kBlocks);
  return min<std::int64_t>(max<std::int64_t>(ceil_div(rows, four), 1), 32) * four;
}
std::int64_t statistics_tiles(const BatchNormShape& s) {
  return ceil_div(s.rows, statistics_rows(s));
}
// Rows of a block that writes elements: eight a thread read a channel's numbers once; more where
// blocks would be too many.
std::int64_t element_rows(const BatchNormShape& s, const Tiling& tiling) {
  const std::int64_t fewest = ceil_div<std::int64_t>(s.rows, 65535 * std::int64_t{tiling.block.y});
  return max<std::int64_t>(8, fewest) * tiling.block.y;
}
dim3 merging_block(std::int64_t tiles) {
  return dim3(kMerged,
              static_cast<unsigned>(min<std::int64_t>(max<std::int64_t>(tiles, 1), kMerged)));
}

// Calls f with the width of packs, as a type.
template <class T, class F>
void with_width(const BatchNormShape& s, bool even, F&& f) {
  if (widest(s) > 1 && even) {
    f(std::integral_constant<int, kPackWidth<T>>{});
  } else {
    f(std::integral_constant<int, 1>{});
  }
}

template <class T, bool relu, class From>
void write_normalised(const Queue& queue, const BatchNormShape& s, const T* x, const From& from,
                      T* y, const T* residual) {
  const bool even =
      aligned(x, 16) && aligned(y, 16) && (residual == nullptr || aligned(residual, 16));
  with_width<T>(s, even, [&](auto width) {
    const Tiling tiling(s, width);
    const std::int64_t rows = element_rows(s, tiling);
    launch<normalise<T, width, relu, From>>(queue, tiling.grid(ceil_div(s.rows, rows)),
                                            tiling.block, 0, x, from, y, residual, s.rows, s.C,
                                            rows);
  });
}

template <class T, bool relu>
Plan training(const BatchNormShape& s) {
  const std::size_t moments = static_cast<std::size_t>(statistics_tiles(s) * s.C) * sizeof(Moments);
  const std::size_t workspace = moments + static_cast<std::size_t>(s.C) * sizeof(Channel);
  return Plan("tiled", workspace, [s, moments](const Queue& queue, const Buffers& b) {
    if (s.C == 0) return;
    auto* parts = static_cast<Moments*>(b.workspace);  // {tiles, C}
    auto* channels =                                   // {C}
        reinterpret_cast<Channel*>(static_cast<char*>(b.workspace) + moments);
    const T* x = in<T>(b, 0);
    const std::int64_t tiles = statistics_tiles(s);
    const Relu<T> after = relu_of<T>(s, b, relu);
    if (s.rows > 0) {
      with_width<T>(s, aligned(x, 16), [&](auto width) {
        const Tiling tiling(s, width);
        launch<tile_moments<T, width>>(queue, tiling.grid(tiles), tiling.block, 0, x, parts, s.rows,
                                       s.C, statistics_rows(s));
      });
    }
    launch<merge_moments<T>>(queue, blocks_for(s.C, kMerged), merging_block(tiles), 0,
                             static_cast<const Moments*>(parts), in<float>(b, 1), in<float>(b, 2),
                             out<float>(b, 1), out<float>(b, 2), channels, after, tiles, s.rows,
                             s.C, s.eps);
    if (s.rows > 0) write_normalised<T, relu>(queue, s, x, Ready{channels}, out<T>(b, 0), after.r);
  });
}

template <class T>
Plan inference(const BatchNormShape& s) {
  return Plan("tiled", 0, [s](const Queue& queue, const Buffers& b) {
    if (empty(s)) return;
    const Made from{in<float>(b, 1), in<float>(b, 2), in<float>(b, 3), in<float>(b, 4),
                    static_cast<float>(s.eps)};
    write_normalised<T, false>(queue, s, in<T>(b, 0), from, out<T>(b, 0),
                               static_cast<const T*>(nullptr));
  });
}

template <class T, bool masked>
void run_gradient(const Queue& queue, const BatchNormShape& s, const Buffers& b,
                  const Passed<T>& dy, Sums* parts, GradientChannel* channels) {
  const std::int64_t tiles = statistics_tiles(s);
  const bool even = aligned(dy.dy, 16) && aligned(dy.x, 16);
  if (s.rows > 0) {
    with_width<T>(s, even, [&](auto width) {
      const Tiling tiling(s, width);
      launch<tile_sums<T, width, masked>>(queue, tiling.grid(tiles), tiling.block, 0, dy,
                                          in<float>(b, 3), parts, s.rows, s.C, statistics_rows(s),
                                          s.eps);
    });
  }
  launch<merge_sums>(queue, blocks_for(s.C, kMerged), merging_block(tiles), 0,
                     static_cast<const Sums*>(parts), in<float>(b, 2), in<float>(b, 3),
                     in<float>(b, 4), out<float>(b, 1), out<float>(b, 2), channels, tiles, s.rows,
                     s.C, s.eps);
  T* dx = out<T>(b, 0);
  if (s.rows == 0 || dx == nullptr) return;
  with_width<T>(s, even && aligned(dx, 16), [&](auto width) {
    const Tiling tiling(s, width);
    const std::int64_t rows = element_rows(s, tiling);
    launch<gradient_elements<T, width, masked>>(
        queue, tiling.grid(ceil_div(s.rows, rows)), tiling.block, 0, dy,
        static_cast<const GradientChannel*>(channels), dx, s.rows, s.C, rows);
  });
}

template <class T, bool relu>
Plan gradient(const BatchNormShape& s) {
  const std::size_t sums = static_cast<std::size_t>(statistics_tiles(s) * s.C) * sizeof(Sums);
  const std::size_t workspace = sums + static_cast<std::size_t>(s.C) * sizeof(GradientChannel);
  return Plan("tiled", workspace, [s, sums](const Queue& queue, const Buffers& b) {
    if (s.C == 0) return;
    auto* parts = static_cast<Sums*>(b.workspace);  // {tiles, C}
    auto* channels =                                // {C}
        reinterpret_cast<GradientChannel*>(static_cast<char*>(b.workspace) + sums);
    const Passed<T> dy = passed<T>(s, queue, b, relu);
    if (dy.factor != nullptr) {
      run_gradient<T, true>(queue, s, b, dy, parts, channels);
    } else {
      run_gradient<T, false>(queue, s, b, dy, parts, channels);
    }
  });
}

template <bool relu>
Plan training_of(const BatchNormShape& s) {
  return s.dtype == DType::bf16 ? training<bf16, relu>(s) : training<float, relu>(s);
}
template <bool relu>
Plan gradient_of(const BatchNormShape& s) {
  return s.dtype == DType::bf16 ? gradient<bf16, relu>(s) : gradient<float, relu>(s);
}

}  // namespace

// Tiles are the grid's second extent.
bool batch_norm_fits_tiles(const BatchNormShape& s) {
  return statistics_tiles(s) < 65536 && s.top == 0;
}
Plan batch_norm_training_tiled(const BatchNormShape& s, bool relu) {
  return relu ? training_of<true>(s) : training_of<false>(s);
}
Plan batch_norm_inference_tiled(const BatchNormShape& s) {
  return s.dtype == DType::bf16 ? inference<bf16>(s) : inference<float>(s);
}
Plan batch_norm_gradient_tiled(const BatchNormShape& s, bool relu) {
  return relu ? gradient_of<true>(s) : gradient_of<false>(s);
}

}  // namespace tapescope::TAPESCOPE_GPU
