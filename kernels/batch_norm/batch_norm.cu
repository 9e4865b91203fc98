// Batch normalisation on a GPU, in rungs.
//
//   naive: one thread per channel, one row after the other; sums in double
//   tiled: one block per 32 channels (neighbouring threads, neighbouring elements) and 1024 rows,
//          so that a few channels still fill the GPU. A block centres its rows at their own mean;
//          blocks are merged in double in their order (Chan, Golub and LeVeque, 1979), by a second
//          launch; a third writes the result, one element per thread.
#include "kernels/batch_norm/batch_norm.h"

#include "kernels/common/gpu.h"

namespace tapescope::TAPESCOPE_GPU {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kChannels = 32, kRows = 8;  // threads of a tile's block
constexpr std::int64_t kTileRows = 1024;  // rows of x that a block takes

template <class T>
__device__ float number(const T* x, std::int64_t i) {
  return static_cast<float>(x[i]);
}
// An optional {C} operand.
template <class T>
__device__ float number_or(const T* x, std::int64_t c, float otherwise) {
  return x != nullptr ? static_cast<float>(x[c]) : otherwise;
}

// How many values, their mean, and the sum of their squared distances from it.
struct Moments {
  double count, mean, squares;
};
__device__ Moments merged(Moments a, Moments b) {
  if (b.count == 0) return a;
  const double count = a.count + b.count, apart = b.mean - a.mean;
  return {count, a.mean + apart * (b.count / count),
          a.squares + b.squares + apart * apart * (a.count * b.count / count)};
}

// --- training ---

// The moments of rows begin, begin + step, ... below `end` of channel c.
template <class T>
__device__ Moments moments_of(const T* x, std::int64_t begin, std::int64_t end, std::int64_t step,
                              std::int64_t c, std::int64_t C) {
  float sum = 0, squares = 0;
  std::int64_t count = 0;
  for (std::int64_t r = begin; r < end; r += step, ++count) sum += number(x, r * C + c);
  if (count == 0) return {0, 0, 0};
  const float mean = sum / static_cast<float>(count);
  float left = 0;  // what rounding the mean left over, exactly taken out again below
  for (std::int64_t r = begin; r < end; r += step) {
    const float centred = number(x, r * C + c) - mean;
    left += centred;
    squares += centred * centred;
  }
  const double n = static_cast<double>(count), rest = static_cast<double>(left) / n;
  return {n, static_cast<double>(mean) + rest, static_cast<double>(squares) - rest * rest * n};
}

// What follows the normalisation: nothing, or r {rows, C} (or null) is added and y is not negative.
// factor and offset {C} keep what normalised.
template <class T>
struct Relu {
  bool on = false;
  const T* r = nullptr;
  float* factor = nullptr;
  float* offset = nullptr;
};
template <class T>
__device__ T finished(const Relu<T>& relu, float y, std::int64_t i) {
  if (!relu.on) return static_cast<T>(y);
  if (relu.r != nullptr) y += number(relu.r, i);
  return static_cast<T>(y < 0 ? 0.0f : y);
}

// x: {rows, C}, y: {rows, C}, mean, variance: {C}; scale, shift: {C} or null
template <class T>
__global__ void training_naive(const T* x, const float* scale, const float* shift, T* y,
                               float* mean, float* variance, Relu<T> relu, std::int64_t rows,
                               std::int64_t C, double eps) {
  const std::int64_t c = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= C) return;
  Moments all{0, 0, 0};
  for (std::int64_t r = 0; r < rows; r += 128) {
    all = merged(all, moments_of(x, r, min<std::int64_t>(rows, r + 128), 1, c, C));
  }
  const double spread = all.squares / static_cast<double>(rows);
  mean[c] = static_cast<float>(all.mean);
  variance[c] = static_cast<float>(spread);
  const float m = static_cast<float>(all.mean), add = number_or(shift, c, 0);
  const float factor =
      static_cast<float>(static_cast<double>(number_or(scale, c, 1)) / sqrt(spread + eps));
  if (relu.on) {
    relu.factor[c] = factor;
    relu.offset[c] = add;
  }
  for (std::int64_t i = c; i < rows * C; i += C) {
    y[i] = finished(relu, (number(x, i) - m) * factor + add, i);
  }
}

// moments: {tiles, C}
template <class T>
__global__ void tile_moments(const T* x, Moments* moments, std::int64_t rows, std::int64_t C) {
  TAPESCOPE_SHARED(Moments, partial, [kRows][kChannels]);
  const std::int64_t c = std::int64_t{blockIdx.x} * kChannels + threadIdx.x;
  const std::int64_t begin = blockIdx.y * kTileRows, end = min(rows, begin + kTileRows);
  if (c < C) {
    partial[threadIdx.y][threadIdx.x] = moments_of(x, begin + threadIdx.y, end, kRows, c, C);
  }
  __syncthreads();
  if (threadIdx.y != 0 || c >= C) return;
  Moments all = partial[0][threadIdx.x];
  for (int row = 1; row < kRows; ++row) all = merged(all, partial[row][threadIdx.x]);
  moments[blockIdx.y * C + c] = all;
}

// What an element becomes: (x - mean) * factor + shift. One thread per channel.
struct Channel {
  float mean, factor, shift;
};
template <class T>
__global__ void merge_moments(const Moments* moments, const float* scale, const float* shift,
                              float* mean, float* variance, Channel* channels, Relu<T> relu,
                              std::int64_t tiles, std::int64_t rows, std::int64_t C, double eps) {
  const std::int64_t c = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= C) return;
  Moments all{0, 0, 0};
  for (std::int64_t tile = 0; tile < tiles; ++tile) all = merged(all, moments[tile * C + c]);
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
    relu.offset[c] = channel.shift;
  }
}

// One thread per element.
template <class T>
__global__ void normalise(const T* x, const Channel* channels, T* y, Relu<T> relu, std::int64_t n,
                          std::int64_t C) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const Channel channel = channels[i % C];
  y[i] = finished(relu, (number(x, i) - channel.mean) * channel.factor + channel.shift, i);
}

// --- inference ---

template <class T>
__global__ void inference(const T* x, const float* scale, const float* shift, const float* mean,
                          const float* variance, T* y, std::int64_t n, std::int64_t C, float eps) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const std::int64_t c = i % C;
  const float factor = number_or(scale, c, 1) / sqrt(number(variance, c) + eps);
  y[i] = static_cast<T>((number(x, i) - number(mean, c)) * factor + number_or(shift, c, 0));
}

// --- gradient ---

// What of dy counts: all of it, or where a relu behind the normalisation let x pass. factor,
// offset: {C} or null
template <class T>
struct Passed {
  const T *dy, *x;
  const float *mean, *factor, *offset;
  __device__ float operator()(std::int64_t i, std::int64_t c) const {
    if (factor == nullptr) return number(dy, i);
    const float z = (number(x, i) - number(mean, c)) * number(factor, c) + number(offset, c);
    return z > 0 ? number(dy, i) : 0.0f;
  }
};
// dr = dy where y > 0, else 0. One thread per element.
template <class T>
__global__ void pass_positive(const T* dy, const T* y, T* dr, std::int64_t n) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) dr[i] = number(y, i) > 0 ? dy[i] : static_cast<T>(0.0f);
}

// Sums over rows of what counts of dy and of its product with xhat.
struct Sums {
  double dy, product;
};
template <class T>
__device__ Sums sums_of(const Passed<T>& dy, const T* x, float mean, float inverse,
                        std::int64_t begin, std::int64_t end, std::int64_t step, std::int64_t c,
                        std::int64_t C) {
  float sum = 0, product = 0;
  for (std::int64_t r = begin; r < end; r += step) {
    const float d = dy(r * C + c, c);
    sum += d;
    product += d * ((number(x, r * C + c) - mean) * inverse);
  }
  return {sum, product};
}

// dx = factor * (dy - dshift / rows - xhat * dscale / rows)
struct GradientChannel {
  float mean, inverse, factor, mean_dy, mean_product;
};
__device__ inline GradientChannel gradient_channel(Sums all, const float* mean,
                                                   const float* variance, const float* scale,
                                                   float* dscale, float* dshift, std::int64_t c,
                                                   double rows, double eps) {
  if (dshift != nullptr) dshift[c] = static_cast<float>(all.dy);
  if (dscale != nullptr) dscale[c] = static_cast<float>(all.product);
  const double inverse = 1 / sqrt(static_cast<double>(number(variance, c)) + eps);
  return {number(mean, c), static_cast<float>(inverse),
          static_cast<float>(static_cast<double>(number_or(scale, c, 1)) * inverse),
          static_cast<float>(all.dy / rows), static_cast<float>(all.product / rows)};
}
template <class T>
__device__ T gradient_element(const GradientChannel& g, float dy, float x) {
  const float normal = (x - g.mean) * g.inverse;
  return static_cast<T>(g.factor * (dy - g.mean_dy - normal * g.mean_product));
}

// dy, x, dx: {rows, C}; mean, variance, scale, dscale, dshift: {C}; scale, dx, dscale, dshift may
// be null
template <class T>
__global__ void gradient_naive(Passed<T> dy, const T* x, const float* mean, const float* variance,
                               const float* scale, T* dx, float* dscale, float* dshift,
                               std::int64_t rows, std::int64_t C, double eps) {
  const std::int64_t c = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= C) return;
  const float m = number(mean, c);
  const auto inverse = static_cast<float>(1 / sqrt(static_cast<double>(number(variance, c)) + eps));
  Sums all{0, 0};
  for (std::int64_t r = 0; r < rows; r += 128) {
    const Sums part = sums_of(dy, x, m, inverse, r, min<std::int64_t>(rows, r + 128), 1, c, C);
    all = {all.dy + part.dy, all.product + part.product};
  }
  const GradientChannel g = gradient_channel(all, mean, variance, scale, dscale, dshift, c,
                                             static_cast<double>(rows), eps);
  if (dx == nullptr) return;
  for (std::int64_t i = c; i < rows * C; i += C) {
    dx[i] = gradient_element<T>(g, dy(i, c), number(x, i));
  }
}

// sums: {tiles, C}
template <class T>
__global__ void tile_sums(Passed<T> dy, const T* x, const float* mean, const float* variance,
                          Sums* sums, std::int64_t rows, std::int64_t C, double eps) {
  TAPESCOPE_SHARED(Sums, partial, [kRows][kChannels]);
  const std::int64_t c = std::int64_t{blockIdx.x} * kChannels + threadIdx.x;
  const std::int64_t begin = blockIdx.y * kTileRows, end = min(rows, begin + kTileRows);
  if (c < C) {
    const auto inverse =
        static_cast<float>(1 / sqrt(static_cast<double>(number(variance, c)) + eps));
    partial[threadIdx.y][threadIdx.x] =
        sums_of(dy, x, number(mean, c), inverse, begin + threadIdx.y, end, kRows, c, C);
  }
  __syncthreads();
  if (threadIdx.y != 0 || c >= C) return;
  Sums all{0, 0};
  for (int row = 0; row < kRows; ++row) {
    all.dy += partial[row][threadIdx.x].dy;
    all.product += partial[row][threadIdx.x].product;
  }
  sums[blockIdx.y * C + c] = all;
}

__global__ void merge_sums(const Sums* sums, const float* mean, const float* variance,
                           const float* scale, float* dscale, float* dshift,
                           GradientChannel* channels, std::int64_t tiles, std::int64_t rows,
                           std::int64_t C, double eps) {
  const std::int64_t c = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= C) return;
  Sums all{0, 0};
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    all.dy += sums[tile * C + c].dy;
    all.product += sums[tile * C + c].product;
  }
  channels[c] = gradient_channel(all, mean, variance, scale, dscale, dshift, c,
                                 static_cast<double>(rows), eps);
}

template <class T>
__global__ void gradient_elements(Passed<T> dy, const T* x, const GradientChannel* channels, T* dx,
                                  std::int64_t n, std::int64_t C) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) dx[i] = gradient_element<T>(channels[i % C], dy(i, i % C), number(x, i));
}

// --- host ---

template <class T>
const T* in(const Buffers& b, int k) {
  return static_cast<const T*>(b.in[k]);
}
template <class T>
T* out(const Buffers& b, int k) {
  return static_cast<T*>(b.out[k]);
}

std::int64_t tiles_of(const BatchNormShape& s) { return ceil_div(s.rows, kTileRows); }
dim3 tile_grid(const BatchNormShape& s) {
  return dim3(static_cast<unsigned>(ceil_div<std::int64_t>(s.C, kChannels)),
              static_cast<unsigned>(tiles_of(s)));
}
// Tiles are the grid's second extent.
bool supports_tiled(const BatchNormShape& s) { return tiles_of(s) < 65536; }
bool empty(const BatchNormShape& s) { return s.rows == 0 || s.C == 0; }

template <class T>
Relu<T> relu_of(const BatchNormShape& s, const Buffers& b, bool relu) {
  if (!relu) return {};
  return {true, s.residual ? in<T>(b, 3) : nullptr, out<float>(b, 3), out<float>(b, 4)};
}
// What counts of dy. With a residual branch its gradient is made first, and is that.
template <class T>
Passed<T> passed(const BatchNormShape& s, const Queue& queue, const Buffers& b, bool relu) {
  const T* dy = in<T>(b, 0);
  if (relu && s.residual) {
    if (!empty(s)) {
      launch<pass_positive<T>>(queue, blocks_for(s.rows * s.C, kThreads), kThreads, 0, dy,
                               in<T>(b, 5), out<T>(b, 3), s.rows * s.C);
    }
    dy = out<T>(b, 3);
  }
  const bool masked = relu && !s.residual;
  return {dy, in<T>(b, 1), in<float>(b, 2), masked ? in<float>(b, 5) : nullptr,
          masked ? in<float>(b, 6) : nullptr};
}

template <class T, bool relu>
Plan training_naive_plan(const BatchNormShape& s) {
  return Plan("naive", 0, [s](const Queue& queue, const Buffers& b) {
    if (s.C == 0) return;
    launch<training_naive<T>>(queue, blocks_for(s.C, kThreads), kThreads, 0, in<T>(b, 0),
                              in<float>(b, 1), in<float>(b, 2), out<T>(b, 0), out<float>(b, 1),
                              out<float>(b, 2), relu_of<T>(s, b, relu), s.rows, s.C, s.eps);
  });
}

template <class T, bool relu>
Plan training_tiled_plan(const BatchNormShape& s) {
  const std::size_t moments = static_cast<std::size_t>(tiles_of(s) * s.C) * sizeof(Moments);
  const std::size_t workspace = moments + static_cast<std::size_t>(s.C) * sizeof(Channel);
  return Plan("tiled", workspace, [s, moments](const Queue& queue, const Buffers& b) {
    if (s.C == 0) return;
    auto* parts = static_cast<Moments*>(b.workspace);  // {tiles, C}
    auto* channels =                                   // {C}
        reinterpret_cast<Channel*>(static_cast<char*>(b.workspace) + moments);
    if (s.rows > 0) {
      launch<tile_moments<T>>(queue, tile_grid(s), dim3(kChannels, kRows), 0, in<T>(b, 0), parts,
                              s.rows, s.C);
    }
    launch<merge_moments<T>>(queue, blocks_for(s.C, kThreads), kThreads, 0,
                             static_cast<const Moments*>(parts), in<float>(b, 1), in<float>(b, 2),
                             out<float>(b, 1), out<float>(b, 2), channels, relu_of<T>(s, b, relu),
                             tiles_of(s), s.rows, s.C, s.eps);
    if (s.rows > 0) {
      launch<normalise<T>>(queue, blocks_for(s.rows * s.C, kThreads), kThreads, 0, in<T>(b, 0),
                           static_cast<const Channel*>(channels), out<T>(b, 0),
                           relu_of<T>(s, b, relu), s.rows * s.C, s.C);
    }
  });
}

template <class T>
Plan inference_plan(const BatchNormShape& s) {
  return Plan("naive", 0, [s](const Queue& queue, const Buffers& b) {
    if (empty(s)) return;
    launch<inference<T>>(queue, blocks_for(s.rows * s.C, kThreads), kThreads, 0, in<T>(b, 0),
                         in<float>(b, 1), in<float>(b, 2), in<float>(b, 3), in<float>(b, 4),
                         out<T>(b, 0), s.rows * s.C, s.C, static_cast<float>(s.eps));
  });
}

template <class T, bool relu>
Plan gradient_naive_plan(const BatchNormShape& s) {
  return Plan("naive", 0, [s](const Queue& queue, const Buffers& b) {
    if (s.C == 0) return;
    launch<gradient_naive<T>>(queue, blocks_for(s.C, kThreads), kThreads, 0,
                              passed<T>(s, queue, b, relu), in<T>(b, 1), in<float>(b, 2),
                              in<float>(b, 3), in<float>(b, 4), out<T>(b, 0), out<float>(b, 1),
                              out<float>(b, 2), s.rows, s.C, s.eps);
  });
}

template <class T, bool relu>
Plan gradient_tiled_plan(const BatchNormShape& s) {
  const std::size_t sums = static_cast<std::size_t>(tiles_of(s) * s.C) * sizeof(Sums);
  const std::size_t workspace = sums + static_cast<std::size_t>(s.C) * sizeof(GradientChannel);
  return Plan("tiled", workspace, [s, sums](const Queue& queue, const Buffers& b) {
    if (s.C == 0) return;
    auto* parts = static_cast<Sums*>(b.workspace);  // {tiles, C}
    auto* channels =                                // {C}
        reinterpret_cast<GradientChannel*>(static_cast<char*>(b.workspace) + sums);
    const Passed<T> dy = passed<T>(s, queue, b, relu);
    if (s.rows > 0) {
      launch<tile_sums<T>>(queue, tile_grid(s), dim3(kChannels, kRows), 0, dy, in<T>(b, 1),
                           in<float>(b, 2), in<float>(b, 3), parts, s.rows, s.C, s.eps);
    }
    launch<merge_sums>(queue, blocks_for(s.C, kThreads), kThreads, 0,
                       static_cast<const Sums*>(parts), in<float>(b, 2), in<float>(b, 3),
                       in<float>(b, 4), out<float>(b, 1), out<float>(b, 2), channels, tiles_of(s),
                       s.rows, s.C, s.eps);
    if (s.rows > 0 && b.out[0] != nullptr) {
      launch<gradient_elements<T>>(queue, blocks_for(s.rows * s.C, kThreads), kThreads, 0, dy,
                                   in<T>(b, 1), static_cast<const GradientChannel*>(channels),
                                   out<T>(b, 0), s.rows * s.C, s.C);
    }
  });
}

template <auto for_f32, auto for_bf16>
Plan prepare(const BatchNormShape& s) {
  return s.dtype == DType::bf16 ? for_bf16(s) : for_f32(s);
}

using Prepare = Plan (*)(const BatchNormShape&);

constexpr Variant<BatchNormShape> tiled_row(Prepare prepare) {
  return {.name = "tiled",
          .dtypes = {DType::f32, DType::bf16},
          .note =
              "one block per 32 channels and 1024 rows, merged in order in double; then one thread "
              "per element",
          .prepare = prepare,
          .supports = supports_tiled};
}
constexpr Variant<BatchNormShape> naive_row(std::string_view note, Prepare prepare) {
  return {.name = "naive", .dtypes = {DType::f32, DType::bf16}, .note = note, .prepare = prepare};
}

template <bool relu>
Rows<BatchNormShape> training_rows() {
  static constexpr Variant<BatchNormShape> rows[] = {
      tiled_row(prepare<training_tiled_plan<float, relu>, training_tiled_plan<bf16, relu>>),
      naive_row("one thread per channel",
                prepare<training_naive_plan<float, relu>, training_naive_plan<bf16, relu>>),
  };
  return rows;
}
template <bool relu>
Rows<BatchNormShape> gradient_rows() {
  static constexpr Variant<BatchNormShape> rows[] = {
      tiled_row(prepare<gradient_tiled_plan<float, relu>, gradient_tiled_plan<bf16, relu>>),
      naive_row("one thread per channel",
                prepare<gradient_naive_plan<float, relu>, gradient_naive_plan<bf16, relu>>),
  };
  return rows;
}

}  // namespace

Rows<BatchNormShape> batch_norm_training_variants() { return training_rows<false>(); }
Rows<BatchNormShape> batch_norm_relu_training_variants() { return training_rows<true>(); }
Rows<BatchNormShape> batch_norm_gradient_variants() { return gradient_rows<false>(); }
Rows<BatchNormShape> batch_norm_relu_gradient_variants() { return gradient_rows<true>(); }

Rows<BatchNormShape> batch_norm_inference_variants() {
  static constexpr Variant<BatchNormShape> rows[] = {
      naive_row("one thread per element", prepare<inference_plan<float>, inference_plan<bf16>>),
  };
  return rows;
}

}  // namespace tapescope::TAPESCOPE_GPU
