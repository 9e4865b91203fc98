#include "kernels/pool2d/reference.h"

#include "engine/thread_pool.h"
#include "kernels/common/numeric.h"

namespace tapescope::reference {
namespace {

// Calls f(k, h, w) for each place k of window (p, q) that lies in the image, in scan order.
template <class F>
void for_window(const Pool2dShape& s, std::int64_t p, std::int64_t q, F&& f) {
  for (std::int64_t r = 0; r < s.KH; ++r) {
    const std::int64_t h = p * s.stride_h - s.pad_h + r;
    if (h < 0 || h >= s.H) continue;
    for (std::int64_t c = 0; c < s.KW; ++c) {
      const std::int64_t w = q * s.stride_w - s.pad_w + c;
      if (w >= 0 && w < s.W) f(r * s.KW + c, h, w);
    }
  }
}

template <class F>
void for_outputs(const Pool2dShape& s, F&& f) {
  parallel_for(s.N, [&](std::int64_t n) {
    for (std::int64_t p = 0; p < s.P(); ++p)
      for (std::int64_t q = 0; q < s.Q(); ++q)
        for (std::int64_t c = 0; c < s.C; ++c) f(n, p, q, c);
  });
}

std::int64_t at_x(const Pool2dShape& s, std::int64_t n, std::int64_t h, std::int64_t w,
                  std::int64_t c) {
  return ((n * s.H + h) * s.W + w) * s.C + c;
}
std::int64_t at_y(const Pool2dShape& s, std::int64_t n, std::int64_t p, std::int64_t q,
                  std::int64_t c) {
  return ((n * s.P() + p) * s.Q() + q) * s.C + c;
}

// The place in x that window place k of output (p, q) means.
std::int64_t place(const Pool2dShape& s, std::int64_t n, std::int64_t p, std::int64_t q,
                   std::int64_t c, std::uint8_t k) {
  return at_x(s, n, p * s.stride_h - s.pad_h + k / s.KW, q * s.stride_w - s.pad_w + k % s.KW, c);
}

// The transpose of for_outputs and for_window: calls f(n, h, w, c) for each element of x, and f
// calls for_windows_over to visit the windows that hold it. Each element is written once, rounded
// once.
template <class F>
void for_inputs(const Pool2dShape& s, F&& f) {
  parallel_for(s.N * s.H, [&](std::int64_t nh) {
    for (std::int64_t w = 0; w < s.W; ++w)
      for (std::int64_t c = 0; c < s.C; ++c) f(nh / s.H, nh % s.H, w, c);
  });
}
// Calls f(k, p, q) for each window (p, q) in which (h, w) is place k.
template <class F>
void for_windows_over(const Pool2dShape& s, std::int64_t h, std::int64_t w, F&& f) {
  for (std::int64_t r = s.KH - 1; r >= 0; --r) {
    const std::int64_t up = h + s.pad_h - r;  // = p * stride
    if (up < 0 || up % s.stride_h != 0 || up / s.stride_h >= s.P()) continue;
    for (std::int64_t c = s.KW - 1; c >= 0; --c) {
      const std::int64_t left = w + s.pad_w - c;
      if (left < 0 || left % s.stride_w != 0 || left / s.stride_w >= s.Q()) continue;
      f(r * s.KW + c, up / s.stride_h, left / s.stride_w);
    }
  }
}

template <class Body>
Plan plan(const Pool2dShape& s, Body body) {
  return with_floating(s.dtype, [&](auto t) {
    return Plan("reference", 0,
                [s, body, t](const Queue&, const Buffers& buffers) { body(t, s, buffers); });
  });
}

// How many places window (p, q) is divided by.
std::int64_t divisor(const Pool2dShape& s, std::int64_t p, std::int64_t q) {
  if (s.count_include_pad) return s.KH * s.KW;
  std::int64_t inside = 0;
  for_window(s, p, q, [&](std::int64_t, std::int64_t, std::int64_t) { ++inside; });
  return inside;
}

}  // namespace

Plan max_pool2d(const Pool2dShape& shape) {
  return plan(shape, [](auto t, const Pool2dShape& s, const Buffers& buffers) {
    using T = decltype(t);
    using A = Accumulator<T>;
    const auto* x = static_cast<const T*>(buffers.in[0]);
    auto* y = static_cast<T*>(buffers.out[0]);
    auto* k = static_cast<std::uint8_t*>(buffers.out[1]);
    for_outputs(s, [&](std::int64_t n, std::int64_t p, std::int64_t q, std::int64_t c) {
      const std::int64_t out = at_y(s, n, p, q, c);
      bool first = true;
      A best = 0;
      for_window(s, p, q, [&](std::int64_t place, std::int64_t h, std::int64_t w) {
        const T value = x[at_x(s, n, h, w, c)];
        const A a = static_cast<A>(value);
        if (!first && !(a > best) && !(a != a && best == best)) return;
        first = false;
        best = a;
        y[out] = value;
        k[out] = static_cast<std::uint8_t>(place);
      });
      if (s.relu && !(best > 0)) k[out] = kNoPlace;
      if (s.relu && best <= 0) y[out] = static_cast<T>(A{0});
    });
  });
}

Plan max_pool2d_scatter(const Pool2dShape& shape) {
  return plan(shape, [](auto t, const Pool2dShape& s, const Buffers& buffers) {
    using T = decltype(t);
    using A = Accumulator<T>;
    const auto* dy = static_cast<const T*>(buffers.in[0]);
    const auto* k = static_cast<const std::uint8_t*>(buffers.in[1]);
    auto* dx = static_cast<T*>(buffers.out[0]);
    for_inputs(s, [&](std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) {
      A sum = 0;
      for_windows_over(s, h, w, [&](std::int64_t place, std::int64_t p, std::int64_t q) {
        const std::int64_t y = at_y(s, n, p, q, c);
        if (k[y] == place) sum += static_cast<A>(dy[y]);
      });
      dx[at_x(s, n, h, w, c)] = static_cast<T>(sum);
    });
  });
}

Plan max_pool2d_gather(const Pool2dShape& shape) {
  return plan(shape, [](auto t, const Pool2dShape& s, const Buffers& buffers) {
    using T = decltype(t);
    const auto* x = static_cast<const T*>(buffers.in[0]);
    const auto* k = static_cast<const std::uint8_t*>(buffers.in[1]);
    auto* y = static_cast<T*>(buffers.out[0]);
    for_outputs(s, [&](std::int64_t n, std::int64_t p, std::int64_t q, std::int64_t c) {
      const std::int64_t out = at_y(s, n, p, q, c);
      y[out] = x[place(s, n, p, q, c, k[out])];
    });
  });
}

Plan avg_pool2d(const Pool2dShape& shape) {
  return plan(shape, [](auto t, const Pool2dShape& s, const Buffers& buffers) {
    using T = decltype(t);
    using A = Accumulator<T>;
    const auto* x = static_cast<const T*>(buffers.in[0]);
    auto* y = static_cast<T*>(buffers.out[0]);
    for_outputs(s, [&](std::int64_t n, std::int64_t p, std::int64_t q, std::int64_t c) {
      A sum = 0;
      for_window(s, p, q, [&](std::int64_t, std::int64_t h, std::int64_t w) {
        sum += static_cast<A>(x[at_x(s, n, h, w, c)]);
      });
      y[at_y(s, n, p, q, c)] = static_cast<T>(sum / static_cast<A>(divisor(s, p, q)));
    });
  });
}

Plan avg_pool2d_gradient(const Pool2dShape& shape) {
  return plan(shape, [](auto t, const Pool2dShape& s, const Buffers& buffers) {
    using T = decltype(t);
    using A = Accumulator<T>;
    const auto* dy = static_cast<const T*>(buffers.in[0]);
    auto* dx = static_cast<T*>(buffers.out[0]);
    for_inputs(s, [&](std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) {
      A sum = 0;
      for_windows_over(s, h, w, [&](std::int64_t, std::int64_t p, std::int64_t q) {
        sum += static_cast<A>(dy[at_y(s, n, p, q, c)]) / static_cast<A>(divisor(s, p, q));
      });
      dx[at_x(s, n, h, w, c)] = static_cast<T>(sum);
    });
  });
}

}  // namespace tapescope::reference
