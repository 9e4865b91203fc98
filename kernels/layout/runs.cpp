#include "kernels/layout/runs.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/thread_pool.h"
#include "kernels/layout/element.h"

namespace tapescope::runs {
namespace {

constexpr std::int64_t kGrain = 128 * 1024;  // bytes per chunk of parallel work

std::int64_t rows_per_chunk(std::int64_t row_bytes) {
  return std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, row_bytes));
}

void copy(char* to, const char* from, std::int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

}  // namespace

// Axes behind the last one that is cut belong to the run; the axes in front are walked.
Plan slice(const SliceShape& s) {
  check(s);
  const Shape out = s.out();
  const auto size = static_cast<std::int64_t>(size_of(s.dtype));
  int cut = s.in.rank() - 1;  // the run starts at this axis
  while (cut > 0 && out[cut] == s.in[cut]) --cut;
  const std::int64_t inner = s.in.rank() == 0 ? 1 : s.in.elements(cut + 1, s.in.rank());
  const std::int64_t run = s.in.rank() == 0 ? size : out[cut] * inner * size;
  const std::int64_t count = s.in.rank() == 0 ? 1 : out.elements(0, cut);
  return Plan("runs", 0, [s, cut, inner, run, count, size](const Queue&, const Buffers& b) {
    const char* x = static_cast<const char*>(b.in[0]);  // s.in
    char* y = static_cast<char*>(b.out[0]);             // s.out()
    parallel_ranges(count, rows_per_chunk(run), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t k = begin; k < end; ++k) {
        std::int64_t rest = k, step = inner, source = 0;
        for (int axis = cut; axis >= 0; --axis) {
          const auto a = static_cast<std::size_t>(axis);
          const std::int64_t extent = s.stop[a] - s.start[a];
          const std::int64_t at = axis == cut ? 0 : rest % extent;
          source += (s.start[a] + at) * step;
          step *= s.in[axis];
          if (axis != cut) rest /= extent;
        }
        copy(y + k * run, x + source * size, run);
      }
    });
  });
}

// A run of the result is: elements in front, a run of the operand, elements behind; or, where an
// axis in front is outside of the operand, `value` throughout.
Plan pad(const PadShape& s) {
  check(s);
  if (s.in.rank() == 0) {
    return Plan("runs", 0, [size = size_of(s.dtype)](const Queue&, const Buffers& b) {
      std::memcpy(b.out[0], b.in[0], size);
    });
  }
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    int last = s.in.rank() - 1;  // the last padded axis
    const auto padded = [&](int axis) {
      const auto a = static_cast<std::size_t>(axis);
      return s.before[a] != 0 || s.after[a] != 0;
    };
    while (last > 0 && !padded(last)) --last;
    const Shape out = s.out();
    const std::int64_t inner = s.in.elements(last + 1, s.in.rank());
    const std::int64_t count = out.elements(0, last), run = out[last] * inner;
    return Plan("runs", 0, [s, last, inner, count, run](const Queue&, const Buffers& b) {
      const T* x = static_cast<const T*>(b.in[0]);  // s.in
      T* y = static_cast<T*>(b.out[0]);             // s.out()
      const T value = element_of<T>(s.dtype, s.value);
      const auto l = static_cast<std::size_t>(last);
      const std::int64_t front = s.before[l] * inner, body = s.in[last] * inner;
      const auto bytes = static_cast<std::int64_t>(sizeof(T));
      parallel_ranges(count, rows_per_chunk(run * bytes),
                      [&](std::int64_t begin, std::int64_t end) {
                        for (std::int64_t k = begin; k < end; ++k) {
                          std::int64_t rest = k, step = s.in[last], source = 0;
                          bool inside = true;
                          for (int axis = last - 1; axis >= 0; --axis) {
                            const auto a = static_cast<std::size_t>(axis);
                            const std::int64_t extent = s.in[axis] + s.before[a] + s.after[a];
                            const std::int64_t at = rest % extent - s.before[a];
                            inside = inside && at >= 0 && at < s.in[axis];
                            source += at * step;
                            step *= s.in[axis];
                            rest /= extent;
                          }
                          T* to = y + k * run;
                          if (!inside) {
                            std::fill_n(to, run, value);
                            continue;
                          }
                          std::fill_n(to, front, value);
                          copy(reinterpret_cast<char*>(to + front),
                               reinterpret_cast<const char*>(x + source * inner), body * bytes);
                          std::fill_n(to + front + body, run - front - body, value);
                        }
                      });
    });
  });
}

Plan concat(const ConcatShape& s) {
  std::vector<std::int64_t> run_bytes;
  std::int64_t row = 0;
  for (std::int64_t extent : s.extents) {
    run_bytes.push_back(extent * s.inner * static_cast<std::int64_t>(size_of(s.dtype)));
    row += run_bytes.back();
  }
  return Plan(
      "runs", 0,
      [run_bytes = std::move(run_bytes), row, outer = s.outer](const Queue&, const Buffers& b) {
        char* y = static_cast<char*>(b.out[0]);  // {outer, row}
        parallel_ranges(outer, rows_per_chunk(row), [&](std::int64_t o, std::int64_t end) {
          for (; o < end; ++o) {
            char* to = y + o * row;
            for (std::size_t k = 0; k < run_bytes.size(); ++k) {
              copy(to, static_cast<const char*>(b.in[k]) + o * run_bytes[k], run_bytes[k]);
              to += run_bytes[k];
            }
          }
        });
      });
}

namespace {

// A transpose with axes of extent 1 dropped and neighbours that stay together merged: the result's
// axes from first to last, and by how much each moves in the operand.
struct Walk {
  int rank = 0;
  Extents extent{}, stride{};
};

Walk walk_of(const TransposeShape& s) {
  Extents stride{};
  std::int64_t step = 1;
  for (int axis = s.in.rank() - 1; axis >= 0; --axis) {
    stride[static_cast<std::size_t>(axis)] = step;
    step *= s.in[axis];
  }
  Walk walk;
  for (int axis = 0; axis < s.in.rank(); ++axis) {
    const auto from = s.permutation[static_cast<std::size_t>(axis)];
    const std::int64_t extent = s.in[from];
    if (extent == 1) continue;
    const auto last = static_cast<std::size_t>(walk.rank - 1);
    if (walk.rank > 0 && walk.stride[last] == stride[from] * extent) {
      walk.extent[last] *= extent;
      walk.stride[last] = stride[from];
    } else {
      walk.extent[last + 1] = extent;
      walk.stride[last + 1] = stride[from];
      ++walk.rank;
    }
  }
  return walk;
}

constexpr std::int64_t kTile = 32;  // elements along each side of a tile

// y[i * y_stride + j] = x[i + j * x_stride] for i < 4, j < 4, by two rounds of interleaving.
void transpose_4x4(const std::uint32_t* x, std::int64_t x_stride, std::uint32_t* y,
                   std::int64_t y_stride) {
  typedef std::uint32_t Four __attribute__((vector_size(16), aligned(4), may_alias));
  const auto row = [=](std::int64_t j) { return *reinterpret_cast<const Four*>(x + j * x_stride); };
  const Four a = row(0), b = row(1), c = row(2), d = row(3);
  const Four low{0, 4, 1, 5}, high{2, 6, 3, 7}, front{0, 1, 4, 5}, back{2, 3, 6, 7};
  const Four ab_low = __builtin_shuffle(a, b, low), ab_high = __builtin_shuffle(a, b, high);
  const Four cd_low = __builtin_shuffle(c, d, low), cd_high = __builtin_shuffle(c, d, high);
  const auto put = [=](std::int64_t i, Four line) {
    *reinterpret_cast<Four*>(y + i * y_stride) = line;
  };
  put(0, __builtin_shuffle(ab_low, cd_low, front));
  put(1, __builtin_shuffle(ab_low, cd_low, back));
  put(2, __builtin_shuffle(ab_high, cd_high, front));
  put(3, __builtin_shuffle(ab_high, cd_high, back));
}

// y[i * y_stride + j] = x[i + j * x_stride] for i < rows, j < columns, tile by tile.
template <class T>
void transpose_band(std::int64_t rows, std::int64_t columns, const T* x, std::int64_t x_stride,
                    T* y, std::int64_t y_stride) {
  for (std::int64_t j0 = 0; j0 < columns; j0 += kTile) {
    const std::int64_t j1 = std::min(columns, j0 + kTile);
    std::int64_t i = 0;
    if constexpr (sizeof(T) == 4) {
      for (; i + 4 <= rows; i += 4) {
        std::int64_t j = j0;
        for (; j + 4 <= j1; j += 4) {
          transpose_4x4(x + i + j * x_stride, x_stride, y + i * y_stride + j, y_stride);
        }
        for (; j < j1; ++j) {
          for (std::int64_t k = i; k < i + 4; ++k) y[k * y_stride + j] = x[k + j * x_stride];
        }
      }
    }
    for (; i < rows; ++i) {
      for (std::int64_t j = j0; j < j1; ++j) y[i * y_stride + j] = x[i + j * x_stride];
    }
  }
}

}  // namespace

Plan transpose(const TransposeShape& s) {
  check(s);
  Walk walk = walk_of(s);
  const std::int64_t n = s.in.elements();
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    constexpr auto bytes = static_cast<std::int64_t>(sizeof(T));
    if (walk.rank <= 1) {  // nothing moves
      return Plan("runs", 0, [n](const Queue&, const Buffers& b) {
        copy(static_cast<char*>(b.out[0]), static_cast<const char*>(b.in[0]), n * bytes);
      });
    }
    const auto last = static_cast<std::size_t>(walk.rank - 1);
    if (walk.stride[last] == 1) {  // the last axis stays: runs along it
      return Plan("runs", 0, [n, walk, last](const Queue&, const Buffers& b) {
        const T* x = static_cast<const T*>(b.in[0]);  // s.in
        T* y = static_cast<T*>(b.out[0]);             // s.out()
        const std::int64_t run = walk.extent[last];
        if (n == 0) return;
        parallel_ranges(n / run, rows_per_chunk(run * bytes),
                        [&](std::int64_t begin, std::int64_t end) {
                          for (std::int64_t k = begin; k < end; ++k) {
                            std::int64_t rest = k, source = 0;
                            for (std::size_t axis = last; axis-- > 0;) {
                              source += rest % walk.extent[axis] * walk.stride[axis];
                              rest /= walk.extent[axis];
                            }
                            for (std::int64_t i = 0; i < run; ++i) y[k * run + i] = x[source + i];
                          }
                        });
      });
    }
    // Rows of a matrix along the result's axis that is the operand's last, columns along the
    // result's last axis; the remaining axes are walked.
    std::size_t row_axis = 0;
    while (walk.stride[row_axis] != 1) ++row_axis;
    return Plan("runs", 0, [n, walk, last, row_axis](const Queue&, const Buffers& b) {
      const T* x = static_cast<const T*>(b.in[0]);  // s.in
      T* y = static_cast<T*>(b.out[0]);             // s.out()
      if (n == 0) return;
      const std::int64_t rows = walk.extent[row_axis], columns = walk.extent[last];
      const std::int64_t bands = (rows + kTile - 1) / kTile;
      std::int64_t y_stride = 1;
      for (std::size_t axis = last; axis > row_axis; --axis) y_stride *= walk.extent[axis];
      const std::int64_t matrices = n / (rows * columns);
      parallel_ranges(matrices * bands, rows_per_chunk(std::min(kTile, rows) * columns * bytes),
                      [&](std::int64_t begin, std::int64_t end) {
                        for (std::int64_t k = begin; k < end; ++k) {
                          const std::int64_t row = k % bands * kTile;
                          std::int64_t rest = k / bands, source = row, target = row * y_stride,
                                       step = columns;
                          for (std::size_t axis = last; axis-- > 0;) {
                            if (axis != row_axis) {
                              const std::int64_t at = rest % walk.extent[axis];
                              rest /= walk.extent[axis];
                              source += at * walk.stride[axis];
                              target += at * step;
                            }
                            step *= walk.extent[axis];
                          }
                          transpose_band(std::min(kTile, rows - row), columns, x + source,
                                         walk.stride[last], y + target, y_stride);
                        }
                      });
    });
  });
}

}  // namespace tapescope::runs
