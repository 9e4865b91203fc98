#include "kernels/reduce/reference.h"

#include <limits>

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"

namespace tapescope::reference {
namespace {

// The offset, in elements, of position `index` among the axes picked by `axes` of a tensor.
std::int64_t offset_of(std::int64_t index, const Shape& shape, std::uint32_t axes) {
  std::int64_t offset = 0, step = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    if (axes >> axis & 1u) {
      offset += index % shape[axis] * step;
      index /= shape[axis];
    }
    step *= shape[axis];
  }
  return offset;
}

}  // namespace

Plan reduce(const ReduceShape& shape) {
  return with_floating(shape.dtype, [&](auto t) {
    using T = decltype(t);
    return Plan("reference", 0, [shape](const Queue&, const Buffers& buffers) {
      const T* x = static_cast<const T*>(buffers.in[0]);  // shape.in
      const std::uint32_t kept = all_axes(shape.in.rank()) & ~shape.axes;
      const std::int64_t count = shape.count();
      parallel_for(shape.out().elements(), [&](std::int64_t i) {
        const T* first = x + offset_of(i, shape.in, kept);
        double sum = 0, largest = -std::numeric_limits<double>::infinity();
        for (std::int64_t r = 0; r < count; ++r) {
          const double value = static_cast<double>(
              static_cast<Accumulator<T>>(first[offset_of(r, shape.in, shape.axes)]));
          sum += value;
          if (value > largest || value != value) largest = value;
        }
        if (count == 0) largest = std::numeric_limits<double>::quiet_NaN();
        switch (shape.op) {
          case Reduction::sum:
            break;
          case Reduction::mean:
            sum /= static_cast<double>(count);
            break;
          case Reduction::max:
            sum = largest;
            break;
        }
        store<T>(buffers.out[0], i, static_cast<Accumulator<T>>(sum), shape.wide);
      });
    });
  });
}

Plan broadcast_like(const BroadcastShape& shape) {
  if (!broadcasts_to(shape.in, shape.out)) {
    throw usage_error("[broadcast_like] {} does not broadcast to {}", to_string(shape.in),
                      to_string(shape.out));
  }
  return with_floating(shape.dtype, [&](auto t) {
    using T = decltype(t);
    using A = Accumulator<T>;
    return Plan("reference", 0, [shape](const Queue&, const Buffers& buffers) {
      const T* x = static_cast<const T*>(buffers.in[0]);  // shape.in
      T* y = static_cast<T*>(buffers.out[0]);             // shape.out
      const A scale = static_cast<A>(shape.scale);
      parallel_ranges(shape.out.elements(), 32 * 1024, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          std::int64_t rest = i, source = 0, step = 1;
          for (int axis = shape.in.rank() - 1; axis >= 0; --axis) {
            const std::int64_t extent = shape.out[axis - shape.in.rank() + shape.out.rank()];
            if (shape.in[axis] != 1) source += rest % extent * step;
            rest /= extent;
            step *= shape.in[axis];
          }
          y[i] = static_cast<T>(static_cast<A>(x[source]) * scale);
        }
      });
    });
  });
}

}  // namespace tapescope::reference
