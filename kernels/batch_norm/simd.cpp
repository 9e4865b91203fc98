// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/batch_norm/simd.h"

#include "kernels/common/simd_columns.h"

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

// Per-channel numbers repeated until they fill whole vectors, so that few channels are as fast as
// many: `copies` rows are then treated as one of C * copies channels.
class Repeated {
 public:
  Repeated(std::int64_t copies, std::int64_t C, const float* values) {
    if (copies == 1) {
      data_ = values;
      return;
    }
    for (std::int64_t c = 0; c < C; ++c) buffer_[c] = values[c];
    for (std::int64_t i = C; i < C * copies; ++i) buffer_[i] = buffer_[i - C];
    data_ = buffer_;
  }
  operator const float*() const { return data_; }

 private:
  const float* data_;
  alignas(64) float buffer_[kGroupElements];
};

std::int64_t copies_for(std::int64_t rows, std::int64_t C) {
  return C <= kNarrowColumns && rows >= kLanes ? kLanes * group_copies(rows, C) : 1;
}

// Splits {rows, C} into rows of C * copies elements: f(elements, offset) for each, the last one
// shorter.
template <class F>
void for_long_rows(std::int64_t rows, std::int64_t C, std::int64_t copies, F f) {
  const std::int64_t length = C * copies, all = rows * C;
  for (std::int64_t at = 0; at < all; at += length) f(all - at < length ? all - at : length, at);
}

struct Pair {
  float first, second;
};

// Sums f(index, channel) over the rows into first {C} and second {C}.
template <class F>
void sum_pairs(std::int64_t rows, std::int64_t C, std::int64_t copies, float* first, float* second,
               F f) {
  if (copies == 1) {
    for (std::int64_t c = 0; c < C; ++c) first[c] = second[c] = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
#pragma omp simd
      for (std::int64_t c = 0; c < C; ++c) {
        const Pair pair = f(r * C + c, c);
        first[c] += pair.first;
        second[c] += pair.second;
      }
    }
    return;
  }
  alignas(64) float total_first[kGroupElements] = {}, total_second[kGroupElements] = {};
  for_long_rows(rows, C, copies, [&](std::int64_t n, std::int64_t at) {
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j) {
      const Pair pair = f(at + j, j);
      total_first[j] += pair.first;
      total_second[j] += pair.second;
    }
  });
  fold_group<Sum>(copies / kLanes, C, total_first, first);
  fold_group<Sum>(copies / kLanes, C, total_second, second);
}

template <class T>
void statistics(std::int64_t rows, std::int64_t C, const void* x_, float* centre, float* rest,
                float* squares) {
  const Numbers<T> x(x_);
  if constexpr (sizeof(T) == 2) {
    // A row of the block is near enough to the mean for what has 8 bits, and costs no pass.
    for (std::int64_t c = 0; c < C; ++c) centre[c] = x[c];
  } else {
    reduce_columns<Sum>(rows, C, C, x.data, centre);
    const float count = static_cast<float>(rows);
    for (std::int64_t c = 0; c < C; ++c) centre[c] /= count;
  }
  const std::int64_t copies = copies_for(rows, C);
  const Repeated repeated(copies, C, centre);
  const float* at_centre = repeated;
  sum_pairs(rows, C, copies, rest, squares, [=](std::int64_t i, std::int64_t j) {
    const float centred = x[i] - at_centre[j];
    return Pair{centred, centred * centred};
  });
}

inline __attribute__((always_inline)) float normalised(float x, float mean, float factor,
                                                       float shift) {
  return (x - mean) * factor + shift;
}
inline __attribute__((always_inline)) float relu(float x) { return x < 0.0f ? 0.0f : x; }
// What follows the normalisation, and where its gradient passes.
struct AboveZero {
  float operator()(float z) const { return relu(z); }
  bool passes(float z) const { return z > 0.0f; }
};
struct UpTo {
  float top;
  float operator()(float z) const { return z < 0.0f ? 0.0f : (z > top ? top : z); }
  bool passes(float z) const { return (z >= 0.0f) & (z <= top); }
};

// y[i] = finished((x - mean) * factor + shift, i)
template <class T, class F>
inline __attribute__((always_inline)) void normalise_with(std::int64_t rows, std::int64_t C,
                                                          Numbers<T> x, const float* mean,
                                                          const float* factor, const float* shift,
                                                          T* y, F finished) {
  const std::int64_t copies = copies_for(rows, C);
  const Repeated m(copies, C, mean), f(copies, C, factor), s(copies, C, shift);
  const float *at_m = m, *at_f = f, *at_s = s;
  for_long_rows(rows, C, copies, [=](std::int64_t n, std::int64_t at) {
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j) {
      put(finished(normalised(x[at + j], at_m[j], at_f[j], at_s[j]), at + j), y[at + j]);
    }
  });
}

template <class T>
void normalise(std::int64_t rows, std::int64_t C, const void* x_, const float* mean,
               const float* factor, const float* shift, void* y_) {
  const Numbers<T> x(x_);
  T* y = static_cast<T*>(y_);
  normalise_with(rows, C, x, mean, factor, shift, y, [](float z, std::int64_t) { return z; });
}
template <class T>
void normalise_relu(std::int64_t rows, std::int64_t C, const void* x_, const float* mean,
                    const float* factor, const float* shift, void* y_) {
  const Numbers<T> x(x_);
  T* y = static_cast<T*>(y_);
  normalise_with(rows, C, x, mean, factor, shift, y, [](float z, std::int64_t) { return relu(z); });
}
template <class T>
void normalise_clamp(std::int64_t rows, std::int64_t C, const void* x_, const float* mean,
                     const float* factor, const float* shift, float top, void* y_) {
  const Numbers<T> x(x_);
  T* y = static_cast<T*>(y_);
  const UpTo bounded{top};
  normalise_with(rows, C, x, mean, factor, shift, y,
                 [=](float z, std::int64_t) { return bounded(z); });
}
template <class T>
void normalise_add_relu(std::int64_t rows, std::int64_t C, const void* x_, const float* mean,
                        const float* factor, const float* shift, const void* r_, void* y_) {
  const Numbers<T> x(x_), r(r_);
  T* y = static_cast<T*>(y_);
  normalise_with(rows, C, x, mean, factor, shift, y,
                 [=](float z, std::int64_t i) { return relu(z + r[i]); });
}

template <class T>
void gradient_sums(std::int64_t rows, std::int64_t C, const void* dy_, const void* x_,
                   const float* mean, float* sum, float* product) {
  const Numbers<T> dy(dy_), x(x_);
  const std::int64_t copies = copies_for(rows, C);
  const Repeated m(copies, C, mean);
  const float* at_m = m;
  sum_pairs(rows, C, copies, sum, product, [=](std::int64_t i, std::int64_t j) {
    return Pair{dy[i], dy[i] * (x[i] - at_m[j])};
  });
}

// What of dy a relu lets back whose operand was x, normalised.
template <class Bound>
inline __attribute__((always_inline)) float passed(Bound bound, float dy, float x, float mean,
                                                   float factor, float shift) {
  return bound.passes(normalised(x, mean, factor, shift)) ? dy : 0.0f;
}

template <class T, class Bound>
inline __attribute__((always_inline)) void gradient_sums_through(
    Bound bound, std::int64_t rows, std::int64_t C, const void* dy_, const void* x_,
    const float* mean, const float* factor, const float* shift, float* sum, float* product) {
  const Numbers<T> dy(dy_), x(x_);
  const std::int64_t copies = copies_for(rows, C);
  const Repeated m(copies, C, mean), f(copies, C, factor), s(copies, C, shift);
  const float *at_m = m, *at_f = f, *at_s = s;
  sum_pairs(rows, C, copies, sum, product, [=](std::int64_t i, std::int64_t j) {
    const float g = passed(bound, dy[i], x[i], at_m[j], at_f[j], at_s[j]);
    return Pair{g, g * (x[i] - at_m[j])};
  });
}
template <class T>
void gradient_sums_relu(std::int64_t rows, std::int64_t C, const void* dy, const void* x,
                        const float* mean, const float* factor, const float* shift, float* sum,
                        float* product) {
  gradient_sums_through<T>(AboveZero{}, rows, C, dy, x, mean, factor, shift, sum, product);
}
template <class T>
void gradient_sums_clamp(std::int64_t rows, std::int64_t C, const void* dy, const void* x,
                         const float* mean, const float* factor, const float* shift, float top,
                         float* sum, float* product) {
  gradient_sums_through<T>(UpTo{top}, rows, C, dy, x, mean, factor, shift, sum, product);
}

template <class T>
void gradient_sums_masked(std::int64_t rows, std::int64_t C, const void* dy_, const void* x_,
                          const float* mean, const void* y_, void* g_, float* sum, float* product) {
  const Numbers<T> dy(dy_), x(x_), y(y_);
  T* g = static_cast<T*>(g_);
  const std::int64_t copies = copies_for(rows, C);
  const Repeated m(copies, C, mean);
  const float* at_m = m;
  sum_pairs(rows, C, copies, sum, product, [=](std::int64_t i, std::int64_t j) {
    const float passed = y[i] > 0.0f ? dy[i] : 0.0f;
    put(passed, g[i]);
    return Pair{passed, passed * (x[i] - at_m[j])};
  });
}

// dx[i] = a * g(i, mean, j) + (b * (x - mean) + c), j being where the channel of i is repeated
template <class T, class G>
inline __attribute__((always_inline)) void gradient_with(std::int64_t rows, std::int64_t C,
                                                         std::int64_t copies, Numbers<T> x,
                                                         const float* mean, const float* a,
                                                         const float* b, const float* c, T* dx,
                                                         G g) {
  const Repeated m(copies, C, mean), ra(copies, C, a), rb(copies, C, b), rc(copies, C, c);
  const float *at_m = m, *at_a = ra, *at_b = rb, *at_c = rc;
  for_long_rows(rows, C, copies, [=](std::int64_t n, std::int64_t at) {
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j) {
      put(at_a[j] * g(at + j, at_m[j], j) + (at_b[j] * (x[at + j] - at_m[j]) + at_c[j]),
          dx[at + j]);
    }
  });
}

template <class T>
void gradient(std::int64_t rows, std::int64_t C, const void* dy_, const void* x_, const float* mean,
              const float* a, const float* b, const float* c, void* dx_) {
  const Numbers<T> dy(dy_), x(x_);
  T* dx = static_cast<T*>(dx_);
  gradient_with(rows, C, copies_for(rows, C), x, mean, a, b, c, dx,
                [=](std::int64_t i, float, std::int64_t) { return dy[i]; });
}

template <class T, class Bound>
inline __attribute__((always_inline)) void gradient_through(Bound bound, std::int64_t rows,
                                                            std::int64_t C, const void* dy_,
                                                            const void* x_, const float* mean,
                                                            const float* factor, const float* shift,
                                                            const float* a, const float* b,
                                                            const float* c, void* dx_) {
  const Numbers<T> dy(dy_), x(x_);
  T* dx = static_cast<T*>(dx_);
  const std::int64_t copies = copies_for(rows, C);
  const Repeated f(copies, C, factor), s(copies, C, shift);
  const float *at_f = f, *at_s = s;
  gradient_with(rows, C, copies, x, mean, a, b, c, dx,
                [=](std::int64_t i, float m, std::int64_t j) {
                  return passed(bound, dy[i], x[i], m, at_f[j], at_s[j]);
                });
}
template <class T>
void gradient_relu(std::int64_t rows, std::int64_t C, const void* dy, const void* x,
                   const float* mean, const float* factor, const float* shift, const float* a,
                   const float* b, const float* c, void* dx) {
  gradient_through<T>(AboveZero{}, rows, C, dy, x, mean, factor, shift, a, b, c, dx);
}
template <class T>
void gradient_clamp(std::int64_t rows, std::int64_t C, const void* dy, const void* x,
                    const float* mean, const float* factor, const float* shift, float top,
                    const float* a, const float* b, const float* c, void* dx) {
  gradient_through<T>(UpTo{top}, rows, C, dy, x, mean, factor, shift, a, b, c, dx);
}

template <class T>
constexpr BatchNormKernels kKernels = {
    statistics<T>,           normalise<T>,     normalise_relu<T>,     normalise_clamp<T>,
    normalise_add_relu<T>,   gradient_sums<T>, gradient_sums_relu<T>, gradient_sums_clamp<T>,
    gradient_sums_masked<T>, gradient<T>,      gradient_relu<T>,      gradient_clamp<T>};

}  // namespace

const BatchNormTables batch_norm_kernels = {kKernels<float>, kKernels<Half>};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
