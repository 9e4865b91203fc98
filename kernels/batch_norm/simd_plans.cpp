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
  const std::int64_t grain = std::max<std::int64_t>(16, kGrain / block_count(s));
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

// The workspace holds `arrays` times {C} floats and, for each block, `partials` times {C}.
std::size_t workspace_bytes(const BatchNormShape& s, std::int64_t arrays, std::int64_t partials) {
  return static_cast<std::size_t>((arrays + partials * block_count(s)) * s.C) * sizeof(float);
}

// mean, variance, factor, offset: {C}, what normalises x; partial: {blocks, 3, C}
void moments(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b,
             float* factor, float* offset, float* partial) {
  const float *scale = in(b, 1), *shift = in(b, 2);
  float *mean = out(b, 1), *variance = out(b, 2);
  const Data data = data_of(s);
  for_blocks(s, [&](std::int64_t block, std::int64_t row, std::int64_t rows) {
    float* own = partial + block * 3 * s.C;
    kernels.statistics(rows, s.C, data(b, 0, row * s.C), own, own + s.C, own + 2 * s.C);
  });
  const std::int64_t blocks = block_count(s), height = block_rows(s);
  const double rows = static_cast<double>(s.rows);
  const auto rows_of = [&](std::int64_t block) {
    return static_cast<double>(std::min(height, s.rows - block * height));
  };
  for_channels(s, [&](std::int64_t c) {
    double sum = 0, squares = 0;
    for (std::int64_t block = 0; block < blocks; ++block) {
      const float* own = partial + block * 3 * s.C + c;
      sum += rows_of(block) * static_cast<double>(own[0]) + static_cast<double>(own[s.C]);
    }
    const double m = sum / rows;
    // sum (x - m)^2 = sum (x - centre)^2 + 2 (centre - m) sum (x - centre) + rows (centre - m)^2
    for (std::int64_t block = 0; block < blocks; ++block) {
      const float* own = partial + block * 3 * s.C + c;
      const double away = static_cast<double>(own[0]) - m;
      squares += static_cast<double>(own[2 * s.C]) +
                 away * (2 * static_cast<double>(own[s.C]) + rows_of(block) * away);
    }
    mean[c] = static_cast<float>(m);
    variance[c] = static_cast<float>(squares / rows);
    const double root = std::sqrt(squares / rows + s.eps);
    factor[c] = static_cast<float>(static_cast<double>(value_or(scale, c, 1)) / root);
    // What rounding the mean to f32 lost is put back with the shift.
    offset[c] =
        static_cast<float>((static_cast<double>(mean[c]) - m) * static_cast<double>(factor[c]) +
                           static_cast<double>(value_or(shift, c, 0)));
  });
}

void training(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b) {
  float* factor = static_cast<float*>(b.workspace);  // {C}
  float* offset = factor + s.C;                      // {C}
  moments(s, kernels, b, factor, offset, offset + s.C);
  const Data data = data_of(s);
  for_blocks(s, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    kernels.normalise(rows, s.C, data(b, 0, row * s.C), out(b, 1), factor, offset,
                      data.out(b, 0, row * s.C));
  });
}

void relu_training(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b) {
  const float *mean = out(b, 1), *factor = out(b, 3), *offset = out(b, 4);
  const Data data = data_of(s);
  moments(s, kernels, b, out(b, 3), out(b, 4), static_cast<float*>(b.workspace));
  for_blocks(s, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    const std::int64_t at = row * s.C;
    if (s.residual) {
      kernels.normalise_add_relu(rows, s.C, data(b, 0, at), mean, factor, offset, data(b, 3, at),
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
  float* factor = static_cast<float*>(b.workspace);  // {C}
  float* offset = factor + s.C;                      // {C}
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

// dx = of_g * g + of_x * (x - mean) + rest, g being what of dy counts. Each {C}.
struct GradientFactors {
  float *of_g, *of_x, *rest;
};

// sums(rows, first element, sum, product) gives the sums of a block; the factors follow from all.
// The workspace holds the factors and {blocks, 2, C}: sum g, sum g (x - mean).
template <class Sums>
GradientFactors gradient_factors(const BatchNormShape& s, const Buffers& b, Sums&& sums) {
  const float *variance = in(b, 3), *scale = in(b, 4);
  float *dscale = out(b, 1), *dshift = out(b, 2);
  float* const of_g = static_cast<float*>(b.workspace);
  const GradientFactors factors{of_g, of_g + s.C, of_g + 2 * s.C};
  float* const partial = of_g + 3 * s.C;
  for_blocks(s, [&](std::int64_t block, std::int64_t row, std::int64_t rows) {
    float* own = partial + block * 2 * s.C;
    sums(rows, row * s.C, own, own + s.C);
  });
  const std::int64_t blocks = block_count(s);
  const double rows = static_cast<double>(s.rows);
  for_channels(s, [&](std::int64_t c) {
    double sum = 0, product = 0;
    for (std::int64_t block = 0; block < blocks; ++block) {
      sum += static_cast<double>(partial[block * 2 * s.C + c]);
      product += static_cast<double>(partial[(block * 2 + 1) * s.C + c]);
    }
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

void gradient(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b) {
  const float* mean = in(b, 2);
  const Data data = data_of(s);
  const GradientFactors f =
      gradient_factors(s, b, [&](std::int64_t rows, std::int64_t at, float* sum, float* product) {
        kernels.gradient_sums(rows, s.C, data(b, 0, at), data(b, 1, at), mean, sum, product);
      });
  if (b.out[0] == nullptr) return;
  for_blocks(s, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    const std::int64_t at = row * s.C;
    kernels.gradient(rows, s.C, data(b, 0, at), data(b, 1, at), mean, f.of_g, f.of_x, f.rest,
                     data.out(b, 0, at));
  });
}

void relu_gradient(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b) {
  const float *mean = in(b, 2), *factor = in(b, 5), *offset = in(b, 6);
  const Data data = data_of(s);
  const GradientFactors f =
      gradient_factors(s, b, [&](std::int64_t rows, std::int64_t at, float* sum, float* product) {
        kernels.gradient_sums_relu(rows, s.C, data(b, 0, at), data(b, 1, at), mean, factor, offset,
                                   sum, product);
      });
  for_blocks(s, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    const std::int64_t at = row * s.C;
    kernels.gradient_relu(rows, s.C, data(b, 0, at), data(b, 1, at), mean, factor, offset, f.of_g,
                          f.of_x, f.rest, data.out(b, 0, at));
  });
}

void residual_gradient(const BatchNormShape& s, const BatchNormKernels& kernels, const Buffers& b) {
  const float* mean = in(b, 2);
  const Data data = data_of(s);
  const GradientFactors f =
      gradient_factors(s, b, [&](std::int64_t rows, std::int64_t at, float* sum, float* product) {
        kernels.gradient_sums_masked(rows, s.C, data(b, 0, at), data(b, 1, at), mean,
                                     data(b, 5, at), data.out(b, 3, at), sum, product);
      });
  for_blocks(s, [&](std::int64_t, std::int64_t row, std::int64_t rows) {
    const std::int64_t at = row * s.C;
    kernels.gradient(rows, s.C, data.out(b, 3, at), data(b, 1, at), mean, f.of_g, f.of_x, f.rest,
                     data.out(b, 0, at));
  });
}

using Body = void (*)(const BatchNormShape&, const BatchNormKernels&, const Buffers&);

Plan plan(const BatchNormShape& s, std::size_t workspace, Body body) {
  const BatchNormTables& tables = TAPESCOPE_ISA_TABLE(batch_norm_kernels);
  return Plan("simd", workspace,
              [s, body, kernels = s.dtype == DType::bf16 ? &tables.bf16 : &tables.f32](
                  const Queue&, const Buffers& b) { body(s, *kernels, b); });
}

}  // namespace

bool supports_batch_norm(const BatchNormShape& s) { return s.rows > 0 && s.C > 0; }

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
