#include "kernels/reduce/simd_plans.h"

#include <algorithm>
#include <cstring>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/more_ops/cast/simd.h"
#include "kernels/reduce/simd.h"

namespace tapescope::simd {
namespace {

constexpr std::int64_t kGrain = 32 * 1024;  // elements per chunk of parallel work
constexpr std::int64_t kTile = 4096;        // columns a chunk takes at most

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// One reduction {outer, rows, columns} -> {outer, columns}. Rows are taken in blocks, whose partial
// results are added in order, in f64.
struct Step {
  std::int64_t outer, rows, columns;
  std::int64_t source, target;  // floats into the workspace; -1: the operand, the output
  std::int64_t partial;         // floats into the workspace

  std::int64_t block_rows() const { return std::clamp<std::int64_t>(kGrain / columns, 64, kGrain); }
  std::int64_t blocks() const { return ceil_divide(rows, block_rows()); }
  bool small() const { return blocks() == 1 && columns <= kTile; }
  std::int64_t partial_elements() const { return small() ? 0 : outer * blocks() * columns; }
};

struct Steps {
  int count = 0;
  std::array<Step, 3> steps;
};

struct Kernels {
  const ReduceKernels* table;
  bool max;
  int size;  // of an element that is read

  ColumnsKernel columns() const { return max ? table->max : table->sum; }
  BlocksKernel blocks() const { return max ? table->max_blocks : table->sum_blocks; }
  const void* at(const void* x, std::int64_t element) const {
    return static_cast<const char*>(x) + element * size;
  }
};

// All rows of an outer position are one block, and none is too wide: no partial results.
void run_small_blocks(const Step& step, const Kernels& kernels, double scale, const void* x,
                      float* y) {
  const std::int64_t rows = step.rows, columns = step.columns;
  const float factor = static_cast<float>(scale);
  parallel_ranges(step.outer, std::max<std::int64_t>(1, kGrain / (rows * columns)),
                  [&](std::int64_t begin, std::int64_t end) {
                    float* out = y + begin * columns;
                    kernels.blocks()(end - begin, rows, columns,
                                     kernels.at(x, begin * rows * columns), out);
                    if (scale == 1) return;
                    for (std::int64_t i = 0; i < (end - begin) * columns; ++i) out[i] *= factor;
                  });
}

void run_large_blocks(const Step& step, const Kernels& kernels, double scale, const void* x,
                      float* partial, float* y) {
  const std::int64_t rows = step.rows, columns = step.columns, blocks = step.blocks();
  const std::int64_t block_rows = step.block_rows(), tiles = ceil_divide(columns, kTile);
  parallel_for(step.outer * blocks * tiles, [&](std::int64_t chunk) {
    const std::int64_t tile = chunk % tiles * kTile;
    const std::int64_t k = chunk / tiles;  // outer * blocks + block
    const std::int64_t row = k % blocks * block_rows;
    kernels.columns()(std::min(block_rows, rows - row), std::min(kTile, columns - tile), columns,
                      kernels.at(x, (k / blocks * rows + row) * columns + tile),
                      partial + k * columns + tile);
  });
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / blocks);
  parallel_ranges(step.outer * columns, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float* parts = partial + i / columns * blocks * columns + i % columns;
      double total = static_cast<double>(parts[0]);
      for (std::int64_t block = 1; block < blocks; ++block) {
        const double part = static_cast<double>(parts[block * columns]);
        if (kernels.max) {
          total = total > part || total != total ? total : part;
        } else {
          total += part;
        }
      }
      y[i] = static_cast<float>(total * scale);
    }
  });
}

struct WholeReduction {
  Steps steps;
  Kernels first, further;  // of what is given, and of the results of a step
  double scale;

  void run(const void* x, float* memory, float* y) const {
    for (int k = 0; k < steps.count; ++k) {
      const Step& step = steps.steps[static_cast<std::size_t>(k)];
      const void* from = step.source < 0 ? x : memory + step.source;
      const Kernels& kernels = step.source < 0 ? first : further;
      float* to = step.target < 0 ? y : memory + step.target;
      const double factor = k + 1 == steps.count ? scale : 1;
      if (step.small()) {
        run_small_blocks(step, kernels, factor, from, to);
      } else {
        run_large_blocks(step, kernels, factor, from, memory + step.partial, to);
      }
    }
  }
};

}  // namespace

bool supports_reduce(const ReduceShape& s) { return s.in.elements() > 0; }

Plan reduce(const ReduceShape& s) {
  // Neighbouring axes of one kind are merged; then the last group of reduced axes is one step, and
  // the one in front of it the next.
  std::array<std::int64_t, Shape::kMaxRank> extent{};
  std::array<bool, Shape::kMaxRank> reduced{};
  std::size_t groups = 0;
  for (int axis = 0; axis < s.in.rank(); ++axis) {
    if (s.in[axis] == 1) continue;
    const bool is_reduced = (s.axes >> axis & 1u) != 0;
    if (groups > 0 && reduced[groups - 1] == is_reduced) {
      extent[groups - 1] *= s.in[axis];
    } else {
      extent[groups] = s.in[axis];
      reduced[groups++] = is_reduced;
    }
  }
  Steps plan;
  std::int64_t workspace = 0, columns = 1, source = -1;
  for (std::size_t g = groups; g-- > 0;) {
    if (!reduced[g]) {
      columns *= extent[g];
      continue;
    }
    std::int64_t outer = 1;
    for (std::size_t k = 0; k < g; ++k) outer *= extent[k];
    bool last = true;
    for (std::size_t k = 0; k < g; ++k) last = last && !reduced[k];
    Step step{outer, extent[g], columns, source, -1, workspace};
    workspace += step.partial_elements();
    if (!last) {
      step.target = source = workspace;
      workspace += outer * columns;
    }
    plan.steps[static_cast<std::size_t>(plan.count++)] = step;
  }
  const ReduceTables& tables = TAPESCOPE_ISA_TABLE(reduce_kernels);
  const bool max = s.op == Reduction::max, half = s.dtype == DType::bf16;
  const CastKernels& casts = TAPESCOPE_ISA_TABLE(cast_kernels);
  if (plan.count == 0) {  // nothing is reduced
    return Plan("simd", 0,
                [n = s.in.elements(), size = size_of(s.dtype), wide = half && s.wide, &casts](
                    const Queue&, const Buffers& b) {
                  if (wide) return casts.bf16_to_f32(n, b.in[0], b.out[0]);
                  std::memcpy(b.out[0], b.in[0], static_cast<std::size_t>(n) * size);
                });
  }
  const WholeReduction reduction{plan,
                                 {half ? &tables.bf16 : &tables.f32, max, half ? 2 : 4},
                                 {&tables.f32, max, 4},
                                 s.op == Reduction::mean ? 1 / static_cast<double>(s.count()) : 1};
  // bf16 comes of f32 results, which lie behind all else in the workspace.
  const bool rounds = half && !s.wide;
  const std::int64_t results = workspace;
  if (rounds) workspace += s.out().elements();
  return Plan("simd", static_cast<std::size_t>(workspace) * sizeof(float),
              [reduction, rounds, results, n = s.out().elements()](const Queue&, const Buffers& b) {
                float* memory = static_cast<float*>(b.workspace);
                float* y = rounds ? memory + results : static_cast<float*>(b.out[0]);
                reduction.run(b.in[0], memory, y);
                if (rounds) TAPESCOPE_ISA_TABLE(cast_kernels).f32_to_bf16(n, y, b.out[0]);
              });
}

bool supports_broadcast(const BroadcastShape& s) { return broadcasts_to(s.in, s.out); }

Plan broadcast_like(const BroadcastShape& s) {
  BroadcastLoops<1> loops = broadcast_loops<1>(s.out, {&s.in});
  for (; loops.rank < 2; ++loops.rank) {  // at least {rows, columns}
    std::rotate(loops.extent.begin(), loops.extent.end() - 1, loops.extent.end());
    std::rotate(loops.stride[0].begin(), loops.stride[0].end() - 1, loops.stride[0].end());
    loops.extent[0] = 1;
    loops.stride[0][0] = 0;
  }
  const ReduceTables& tables = TAPESCOPE_ISA_TABLE(reduce_kernels);
  return Plan(
      "simd", 0,
      [loops, kernel = (s.dtype == DType::bf16 ? tables.bf16 : tables.f32).broadcast,
       size = static_cast<std::int64_t>(size_of(s.dtype)), n = s.out.elements(),
       scale = static_cast<float>(s.scale)](const Queue&, const Buffers& b) {
        if (n == 0) return;
        const char* x = static_cast<const char*>(b.in[0]);
        char* y = static_cast<char*>(b.out[0]);
        const auto row_axis = static_cast<std::size_t>(loops.rank - 2);
        const std::int64_t rows = loops.extent[row_axis], columns = loops.extent[row_axis + 1];
        const std::int64_t row_stride = loops.stride[0][row_axis];
        const std::int64_t column_stride = loops.stride[0][row_axis + 1];
        const std::int64_t tile = std::min(columns, kGrain), tiles = ceil_divide(columns, tile);
        const std::int64_t block = std::max<std::int64_t>(1, kGrain / tile);
        const std::int64_t blocks = ceil_divide(rows, block);
        // A chunk is a tile of columns in a block of rows of one outer position.
        const std::int64_t work = std::min(block, rows) * tile;
        parallel_ranges(
            n / (rows * columns) * blocks * tiles, std::max<std::int64_t>(1, kGrain / work),
            [&](std::int64_t begin, std::int64_t end) {
              for (std::int64_t task = begin; task < end; ++task) {
                const std::int64_t column = task % tiles * tile;
                const std::int64_t row = task / tiles % blocks * block;
                const std::int64_t outer = task / tiles / blocks;
                std::int64_t rest = outer, source = row * row_stride + column * column_stride;
                for (std::size_t axis = row_axis; axis-- > 0;) {
                  source += rest % loops.extent[axis] * loops.stride[0][axis];
                  rest /= loops.extent[axis];
                }
                char* to = y + ((outer * rows + row) * columns + column) * size;
                const std::int64_t height = std::min(block, rows - row);
                const std::int64_t width = std::min(tile, columns - column);
                // With more than one tile a block is one row, so the result is contiguous.
                kernel(height, width, x + source * size, row_stride, column_stride, scale, to);
              }
            });
      });
}

}  // namespace tapescope::simd
