#include "kernels/layout/reference.h"

#include <vector>

#include "engine/thread_pool.h"
#include "kernels/layout/element.h"

namespace tapescope::reference {
namespace {

constexpr std::int64_t kGrain = 32 * 1024;  // elements per chunk of parallel work

// Calls f(i, position) for every element i of a tensor of this shape, with its position per axis.
template <class F>
void for_each_position(const Shape& shape, F&& f) {
  parallel_ranges(shape.elements(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    Extents position{};
    for (std::int64_t i = begin; i < end; ++i) {
      std::int64_t rest = i;
      for (int axis = shape.rank() - 1; axis >= 0; --axis) {
        position[static_cast<std::size_t>(axis)] = rest % shape[axis];
        rest /= shape[axis];
      }
      f(i, position);
    }
  });
}

// Row-major index of a position; -1 outside the shape.
std::int64_t index_of(const Shape& shape, const Extents& position) {
  std::int64_t index = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const std::int64_t at = position[static_cast<std::size_t>(axis)];
    if (at < 0 || at >= shape[axis]) return -1;
    index = index * shape[axis] + at;
  }
  return index;
}

}  // namespace

Plan pad(const PadShape& s) {
  check(s);
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      const T* x = static_cast<const T*>(b.in[0]);  // s.in
      T* y = static_cast<T*>(b.out[0]);             // s.out()
      const T value = element_of<T>(s.dtype, s.value);
      for_each_position(s.out(), [&](std::int64_t i, Extents position) {
        for (std::size_t a = 0; a < position.size(); ++a) position[a] -= s.before[a];
        const std::int64_t source = index_of(s.in, position);
        y[i] = source < 0 ? value : x[source];
      });
    });
  });
}

Plan slice(const SliceShape& s) {
  check(s);
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      const T* x = static_cast<const T*>(b.in[0]);  // s.in
      T* y = static_cast<T*>(b.out[0]);             // s.out()
      for_each_position(s.out(), [&](std::int64_t i, Extents position) {
        for (std::size_t a = 0; a < position.size(); ++a) position[a] += s.start[a];
        y[i] = x[index_of(s.in, position)];
      });
    });
  });
}

Plan concat(const ConcatShape& s) {
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    std::vector<std::int64_t> extents(s.extents.begin(), s.extents.end());
    return Plan("reference", 0,
                [extents = std::move(extents), outer = s.outer, inner = s.inner](const Queue&,
                                                                                 const Buffers& b) {
                  T* y = static_cast<T*>(b.out[0]);  // {outer, sum of extents, inner}
                  for (std::int64_t o = 0; o < outer; ++o) {
                    for (std::size_t k = 0; k < extents.size(); ++k) {
                      const std::int64_t run = extents[k] * inner;
                      const T* x = static_cast<const T*>(b.in[k]) + o * run;
                      for (std::int64_t i = 0; i < run; ++i) *y++ = x[i];
                    }
                  }
                });
  });
}

Plan transpose(const TransposeShape& s) {
  check(s);
  return with_element(s.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [s](const Queue&, const Buffers& b) {
      const T* x = static_cast<const T*>(b.in[0]);  // s.in
      T* y = static_cast<T*>(b.out[0]);             // s.out()
      for_each_position(s.out(), [&](std::int64_t i, const Extents& position) {
        Extents source{};
        for (int a = 0; a < s.in.rank(); ++a) {
          const auto axis = static_cast<std::size_t>(a);
          source[s.permutation[axis]] = position[axis];
        }
        y[i] = x[index_of(s.in, source)];
      });
    });
  });
}

}  // namespace tapescope::reference
