#include "kernels/log_softmax/reference.h"

#include <cmath>

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"

namespace tapescope::reference {
namespace {

// bf16 is computed in f32, the others in themselves.
template <class T>
struct Row {
  using A = Accumulator<T>;
  std::int64_t C;

  // max_c x_c and sum_c exp(x_c - max). A NaN makes both NaN.
  void normaliser(const T* x, A& largest, A& sum) const {
    largest = static_cast<A>(x[0]);
    for (std::int64_t c = 1; c < C; ++c) {
      const A value = static_cast<A>(x[c]);
      if (value > largest || value != value) largest = value;
    }
    sum = 0;
    for (std::int64_t c = 0; c < C; ++c) sum += std::exp(static_cast<A>(x[c]) - largest);
  }
  void log_softmax(const T* x, T* y) const {
    A largest, sum;
    normaliser(x, largest, sum);
    const A log_sum = std::log(sum);
    for (std::int64_t c = 0; c < C; ++c) {
      y[c] = static_cast<T>(static_cast<A>(x[c]) - largest - log_sum);
    }
  }
  void softmax(const T* x, T* y) const {
    A largest, sum;
    normaliser(x, largest, sum);
    for (std::int64_t c = 0; c < C; ++c) {
      y[c] = static_cast<T>(std::exp(static_cast<A>(x[c]) - largest) / sum);
    }
  }
  void log_softmax_gradient(const T* dy, const T* y, T* dx) const {
    A sum = 0;
    for (std::int64_t c = 0; c < C; ++c) sum += static_cast<A>(dy[c]);
    for (std::int64_t c = 0; c < C; ++c) {
      dx[c] = static_cast<T>(static_cast<A>(dy[c]) - std::exp(static_cast<A>(y[c])) * sum);
    }
  }
  void softmax_gradient(const T* dy, const T* y, T* dx) const {
    A dot = 0;
    for (std::int64_t c = 0; c < C; ++c) dot += static_cast<A>(dy[c]) * static_cast<A>(y[c]);
    for (std::int64_t c = 0; c < C; ++c) {
      dx[c] = static_cast<T>(static_cast<A>(y[c]) * (static_cast<A>(dy[c]) - dot));
    }
  }
};

template <class F>
Plan rows_plan(const SoftmaxShape& s, F row) {
  return with_floating(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s, row](const Queue&, const Buffers& buffers) {
      if (s.C == 0) return;
      parallel_for(s.rows, [&](std::int64_t r) { row(Row<T>{s.C}, buffers, r * s.C); });
    });
  });
}

template <class T>
const T* input(const Row<T>&, const Buffers& buffers, int k, std::int64_t offset) {
  return static_cast<const T*>(buffers.in[k]) + offset;
}
template <class T>
T* output(const Row<T>&, const Buffers& buffers, std::int64_t offset) {
  return static_cast<T*>(buffers.out[0]) + offset;
}

}  // namespace

Plan log_softmax(const SoftmaxShape& s) {
  return rows_plan(s, [](auto row, const Buffers& b, std::int64_t at) {
    row.log_softmax(input(row, b, 0, at), output(row, b, at));
  });
}

Plan softmax(const SoftmaxShape& s) {
  return rows_plan(s, [](auto row, const Buffers& b, std::int64_t at) {
    row.softmax(input(row, b, 0, at), output(row, b, at));
  });
}

Plan log_softmax_gradient(const SoftmaxShape& s) {
  return rows_plan(s, [](auto row, const Buffers& b, std::int64_t at) {
    row.log_softmax_gradient(input(row, b, 0, at), input(row, b, 1, at), output(row, b, at));
  });
}

Plan softmax_gradient(const SoftmaxShape& s) {
  return rows_plan(s, [](auto row, const Buffers& b, std::int64_t at) {
    row.softmax_gradient(input(row, b, 0, at), input(row, b, 1, at), output(row, b, at));
  });
}

}  // namespace tapescope::reference
