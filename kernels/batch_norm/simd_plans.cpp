#include "kernels/batch_norm/simd_plans.h"

#include <algorithm>
#include <cmath>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/batch_norm/simd.h"

namespace tapescope::simd {
namespace {

constexpr std::int64_t kGrain = 32 * 1024;  // elements of a block: it stays in the L2 cache

std::int64_t block_rows(const BatchNormShape& s) {
  return std::clamp<std::int64_t>(kGrain / s.C, 16, 8 * 1024);
}
std::int64_t block_count(const BatchNormShape& s) {
  return (s.rows + block_rows(s) - 1) / block_rows(s);
}

// f(block, first row, rows of the block) for each block, in parallel.
template <class F>
void for_blocks(const BatchNormShape& s, F&& f) {
  const std::int64_t height = block_rows(s);
  parallel_for(block_count(s), [&](std::int64_t block) {
    f(block, block * height, std::min(height, s.rows - block * height));
  });
}

// f(c) for each channel, in parallel where there is enough to merge.
template <class F>
void for_channels(const BatchNormShape& s, F&& f) {
  const std::int64_t blocks = std::max<std::int64_t>(1, block_count(s));
  const std::int64_t grain = std::max<std::int64_t>(16, kGrain / blocks);
  parallel_ranges(s.C, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) f(c);
  });
}

const float* in(const Buffers& b, int k) { return static_cast<const float*>(b.in[k]); }
float* out(const Buffers& b, int k) { return static_cast<float*>(b.out[k]); }
// The data's memory from an element on: f32 or bf16.
struct Data {
  std::size_t size;
  const void* operator()(const Buffers& b, int k, std::int64_t element) const {
    return static_cast<const char*>(b.in[k]) + static_cast<std::size_t>(element) * size;
  }
  void* out(const Buffers& b, int k, std::int64_t element) const {
    return static_cast<char*>(b.out[k]) + static_cast<std::size_t>(element) * size;
  }
};
Data data_of(const BatchNormShape& s) { return {size_of(s.dtype)}; }
float value_or(const float* values, std::int64_t c, float otherwise) {
  return values != nullptr ? values[c] : otherwise;
}

// The workspace: sums of all rows, f64 {2C + 1}, then `arrays` times {C} floats, then for each
// block `partials` times {C}.
std::int64_t sums_of(const BatchNormShape& s) { return (2 * s.C + 8) / 8 * 8; }  // whole lines
std::size_t workspace_bytes(const BatchNormShape& s, std::int64_t arrays, std::int64_t partials) {
  const std::int64_t floats = (arrays + partials * block_count(s)) * s.C;
  return static_cast<std::size_t>(sums_of(s)) * sizeof(double) +
         static_cast<std::size_t>(floats) * sizeof(float);
}
float* floats_of(const BatchNormShape& s, const Buffers& b) {
  return reinterpret_cast<float*>(static_cast<double*>(b.workspace) + sums_of(s));
}
// Where the sums are: what the first part puts out, the last operand of the rest, or between them.
double* sums_to(const BatchNormShape& s, const Buffers& b) {
  return static_cast<double*>(s.part == BatchNormPart::sums ? b.out[0] : b.workspace);
}
const double* sums_from(const BatchNormShape& s, const Buffers& b, int operand) {
  const bool rest = s.part == BatchNormPart::rest;
  return static_cast<const double*>(rest ? b.in[operand] : b.workspace);
}

// partial: {blocks, 3, C}
void sum_x(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b,
           float* partial) {
  double* const sums = sums_to(s, b);
  const Data data = data_of(s);
  for_blocks(s, [&](std::int64_t block, std::int64_t row, std::int64_t rows) {
    float* own = partial + block * 3 * s.C;
    kernels.statistics(rows, s.C, data(b, 0, row * s.C), own, own + s.C, own + 2 * s.C);
  });
  const std::int64_t blocks = block_count(s), height = block_rows(s);
  for_channels(s, [&](std::int64_t c) {
    double sum = 0, squares = 0;
    for (std::int64_t block = 0; block < blocks; ++block) {
      const float* own = partial + block * 3 * s.C + c;
      const auto rows = static_cast<double>(std::min(height, s.rows - block * height));
      const auto centre = static_cast<double>(own[0]), rest = static_cast<double>(own[s.C]);
      sum += rows * centre + rest;
      // sum x^2 = sum (x - centre)^2 + 2 centre sum (x - centre) + rows centre^2
      squares += static_cast<double>(own[2 * s.C]) + centre * (2 * rest + rows * centre);
    }
    sums[c] = sum;
    sums[s.C + c] = squares;
  });
  sums[2 * s.C] = static_cast<double>(s.rows);
}

// mean, variance, factor, offset: {C}, what normalises x
void moments(const BatchNormShape& s, const double* sums, const Buffers& b, float* factor,
             float* offset) {
  const float *scale = in(b, 1), *shift = in(b, 2);
  float *mean = out(b, 1), *variance = out(b, 2);
  const double rows = sums[2 * s.C];
  for_channels(s, [&](std::int64_t c) {
    const double m = sums[c] / rows;
    const double v = std::max(0.0, sums[s.C + c] / rows - m * m);
    mean[c] = static_cast<float>(m);
    variance[c] = static_cast<float>(v);
    factor[c] =
        static_cast<float>(static_cast<double>(value_or(scale, c, 1)) / std::sqrt(v + s.eps));
    // What rounding the mean to f32 lost is put back with the shift.
    offset[c] =
        static_cast<float>((static_cast<double>(mean[c]) - m) * static_cast<double>(factor[c]) +
                           static_cast<double>(value_or(shift, c, 0)));
  });
}

void training(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b) {
  float* const factor = floats_of(s, b);  // {C}
  float* const offset = factor + s.C;     // {C}
  if (s.part != BatchNormPart::rest) sum_x(s, kernels, b, offset + s.C);
  if (s.part == BatchNormPart::sums) return;
  moments(s, sums_from(s, b, 3), b, factor, offset);
  const Data data = data_of(s);
  for_blocks(s, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    kernels.normalise(rows, s.C, data(b, 0, row * s.C), out(b, 1), factor, offset,
                      data.out(b, 0, row * s.C));
  });
}

void relu_training(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b) {
  if (s.part != BatchNormPart::rest) sum_x(s, kernels, b, floats_of(s, b));
  if (s.part == BatchNormPart::sums) return;
  const float *mean = out(b, 1), *factor = out(b, 3), *offset = out(b, 4);
  const auto top = static_cast<float>(s.top);
  const Data data = data_of(s);
  moments(s, sums_from(s, b, s.residual ? 4 : 3), b, out(b, 3), out(b, 4));
  for_blocks(s, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    const std::int64_t at = row * s.C;
    if (s.residual) {
      kernels.normalise_add_relu(rows, s.C, data(b, 0, at), mean, factor, offset, data(b, 3, at),
                                 data.out(b, 0, at));
    } else if (s.top > 0) {
      kernels.normalise_clamp(rows, s.C, data(b, 0, at), mean, factor, offset, top,
                              data.out(b, 0, at));
    } else {
      kernels.normalise_relu(rows, s.C, data(b, 0, at), mean, factor, offset, data.out(b, 0, at));
    }
  });
}

void inference(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b) {
  const float *scale = in(b, 1), *shift = in(b, 2);
  const float *mean = in(b, 3), *variance = in(b, 4);
  const Data data = data_of(s);
  float* factor = floats_of(s, b);  // {C}
  float* offset = factor + s.C;     // {C}
  for (std::int64_t c = 0; c < s.C; ++c) {
    factor[c] = static_cast<float>(static_cast<double>(value_or(scale, c, 1)) /
                                   std::sqrt(static_cast<double>(variance[c]) + s.eps));
    offset[c] = value_or(shift, c, 0);
  }
  for_blocks(s, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    kernels.normalise(rows, s.C, data(b, 0, row * s.C), mean, factor, offset,
                      data.out(b, 0, row * s.C));
  });
}

// Sums of g, of blocks(rows, first element, sum, product) into partial {blocks, 2, C}: sum g and
// sum g (x - mean) of a block's rows.
template <class Blocks>
void sum_g(const BatchNormShape& s, const Buffers& b, Blocks&& of_block) {
  double* const sums = sums_to(s, b);
  float* const partial = floats_of(s, b) + 3 * s.C;
  for_blocks(s, [&](std::int64_t block, std::int64_t row, std::int64_t rows) {
    float* own = partial + block * 2 * s.C;
    of_block(rows, row * s.C, own, own + s.C);
  });
  const std::int64_t blocks = block_count(s);
  for_channels(s, [&](std::int64_t c) {
    double sum = 0, product = 0;
    for (std::int64_t block = 0; block < blocks; ++block) {
      sum += static_cast<double>(partial[block * 2 * s.C + c]);
      product += static_cast<double>(partial[(block * 2 + 1) * s.C + c]);
    }
    sums[c] = sum;
    sums[s.C + c] = product;
  });
  sums[2 * s.C] = static_cast<double>(s.rows);
}

// dx = of_g * g + of_x * (x - mean) + rest. Each {C}.
struct GradientFactors {
  float *of_g, *of_x, *rest;
};

// Writes dscale and dshift too.
GradientFactors gradient_factors(const BatchNormShape& s, const Buffers& b, const double* sums) {
  const float *variance = in(b, 3), *scale = in(b, 4);
  float *dscale = out(b, 1), *dshift = out(b, 2);
  float* const of_g = floats_of(s, b);
  const GradientFactors factors{of_g, of_g + s.C, of_g + 2 * s.C};
  const double rows = sums[2 * s.C];
  for_channels(s, [&](std::int64_t c) {
    const double sum = sums[c], product = sums[s.C + c];
    const double inverse = 1 / std::sqrt(static_cast<double>(variance[c]) + s.eps);
    if (dshift != nullptr) dshift[c] = static_cast<float>(sum);
    if (dscale != nullptr) dscale[c] = static_cast<float>(product * inverse);
    const double factor = static_cast<double>(value_or(scale, c, 1)) * inverse;
    factors.of_g[c] = static_cast<float>(factor);
    factors.of_x[c] = static_cast<float>(-factor * inverse * inverse * product / rows);
    factors.rest[c] = static_cast<float>(-factor * sum / rows);
  });
  return factors;
}

// From g and x to dx.
void finish_gradient(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b,
                     const double* sums, const void* g) {
  const GradientFactors f = gradient_factors(s, b, sums);
  if (b.out[0] == nullptr) return;
  const float* mean = in(b, 2);
  const Data data = data_of(s);
  for_blocks(s, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    const std::int64_t at = row * s.C;
    kernels.gradient(rows, s.C,
                     static_cast<const char*>(g) + static_cast<std::size_t>(at) * data.size,
                     data(b, 1, at), mean, f.of_g, f.of_x, f.rest, data.out(b, 0, at));
  });
}

void gradient(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b) {
  const float* mean = in(b, 2);
  const Data data = data_of(s);
  if (s.part != BatchNormPart::rest) {
    sum_g(s, b, [&](std::int64_t rows, std::int64_t at, float* sum, float* product) {
      kernels.gradient_sums(rows, s.C, data(b, 0, at), data(b, 1, at), mean, sum, product);
    });
  }
  if (s.part != BatchNormPart::sums) finish_gradient(s, kernels, b, sums_from(s, b, 5), b.in[0]);
}

void relu_gradient(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b) {
  const float *mean = in(b, 2), *factor = in(b, 5), *offset = in(b, 6);
  const auto top = static_cast<float>(s.top);
  const Data data = data_of(s);
  if (s.part != BatchNormPart::rest) {
    sum_g(s, b, [&](std::int64_t rows, std::int64_t at, float* sum, float* product) {
      if (s.top > 0) {
        kernels.gradient_sums_clamp(rows, s.C, data(b, 0, at), data(b, 1, at), mean, factor, offset,
                                    top, sum, product);
      } else {
        kernels.gradient_sums_relu(rows, s.C, data(b, 0, at), data(b, 1, at), mean, factor, offset,
                                   sum, product);
      }
    });
  }
  if (s.part == BatchNormPart::sums) return;
  const GradientFactors f = gradient_factors(s, b, sums_from(s, b, 7));
  for_blocks(s, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    const std::int64_t at = row * s.C;
    if (s.top > 0) {
      kernels.gradient_clamp(rows, s.C, data(b, 0, at), data(b, 1, at), mean, factor, offset, top,
                             f.of_g, f.of_x, f.rest, data.out(b, 0, at));
    } else {
      kernels.gradient_relu(rows, s.C, data(b, 0, at), data(b, 1, at), mean, factor, offset, f.of_g,
                            f.of_x, f.rest, data.out(b, 0, at));
    }
  });
}

void residual_gradient(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b) {
  const float* mean = in(b, 2);
  const Data data = data_of(s);
  const int dr = s.part == BatchNormPart::whole ? 3 : 1;
  sum_g(s, b, [&](std::int64_t rows, std::int64_t at, float* sum, float* product) {
    kernels.gradient_sums_masked(rows, s.C, data(b, 0, at), data(b, 1, at), mean, data(b, 5, at),
                                 data.out(b, dr, at), sum, product);
  });
  if (s.part != BatchNormPart::sums) finish_gradient(s, kernels, b, sums_from(s, b, 0), b.out[3]);
}

using Body = void (*)(const BatchNormShape&, const BatchNormKernels&, const Buffers&);

Plan plan(const BatchNormShape& s, std::size_t workspace, Body body) {
  const BatchNormTables& tables = TAPESCOPE_ISA_TABLE(batch_norm_kernels);
  return Plan("simd", workspace,
              [s, body, kernels = s.dtype == DType::bf16 ? &tables.bf16 : &tables.f32](
                  const Queue&, const Buffers& b) { body(s, *kernels, b); });
}

}  // namespace

bool supports_batch_norm(const BatchNormShape& s) {
  return (s.rows > 0 || s.part != BatchNormPart::whole) && s.C > 0;
}

Plan batch_norm_training(const BatchNormShape& s) {
  return plan(s, workspace_bytes(s, 2, 3), training);
}
Plan batch_norm_inference(const BatchNormShape& s) {
  return plan(s, workspace_bytes(s, 2, 0), inference);
}
Plan batch_norm_gradient(const BatchNormShape& s) {
  return plan(s, workspace_bytes(s, 3, 2), gradient);
}
Plan batch_norm_relu_training(const BatchNormShape& s) {
  return plan(s, workspace_bytes(s, 0, 3), relu_training);
}
Plan batch_norm_relu_gradient(const BatchNormShape& s) {
  return plan(s, workspace_bytes(s, 3, 2), s.residual ? residual_gradient : relu_gradient);
}

}  // namespace tapescope::simd
