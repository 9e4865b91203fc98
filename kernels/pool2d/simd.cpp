// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/pool2d/simd.h"

#include "kernels/common/simd_columns.h"
#include "kernels/pool2d/pool2d.h"

namespace tapescope {
namespace TAPESCOPE_ISA {
namespace {

// The part of a window that lies in the image: rows [h0, h1), columns [w0, w1).
struct Window {
  std::int64_t h0, h1, w0, w1, top, left;
};
Window window_of(const PoolImage& s, std::int64_t p, std::int64_t q) {
  Window w;
  w.top = p * s.stride_h - s.pad_h;
  w.left = q * s.stride_w - s.pad_w;
  w.h0 = w.top < 0 ? 0 : w.top;
  w.h1 = w.top + s.KH > s.H ? s.H : w.top + s.KH;
  w.w0 = w.left < 0 ? 0 : w.left;
  w.w1 = w.left + s.KW > s.W ? s.W : w.left + s.KW;
  return w;
}
// As many places in windows as there are floats in a vector.
typedef std::int32_t Places __attribute__((vector_size(kVectorBytes)));
typedef std::uint8_t Bytes __attribute__((vector_size(kWidth), aligned(1), may_alias));

float share_of(const PoolImage& s, const Window& w) {
  const std::int64_t places = s.count_include_pad ? s.KH * s.KW : (w.h1 - w.h0) * (w.w1 - w.w0);
  return static_cast<float>(places);
}
void zero(float* data, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) data[i] = 0;
}

// Whole vectors of channels, from c = 0: f(c) for each. The last one overlaps the one before; what
// is done twice is the same. Nothing where the channels do not fill one.
template <class F>
inline __attribute__((always_inline)) void for_vectors(std::int64_t C, F&& f) {
  for (std::int64_t c = 0; c + kWidth <= C; c += kWidth) f(c);
  if (C % kWidth != 0) f(C - kWidth);
}

// The largest of a window for kWidth channels, in registers. from: the window's first element in
// the image, place: its place in the window.
inline __attribute__((always_inline)) void max_of_window(const PoolImage& s, const Window& win,
                                                         const float* from, float* y,
                                                         std::uint8_t* k) {
  Vector best = *reinterpret_cast<const Vector*>(from);
  std::int64_t place = (win.h0 - win.top) * s.KW + win.w0 - win.left;
  Places won = Places{} + static_cast<std::int32_t>(place);
  for (std::int64_t h = win.h0; h < win.h1; ++h, from += s.W * s.C, place += s.KW) {
    for (std::int64_t w = 0; w < win.w1 - win.w0; ++w) {
      const Vector value = *reinterpret_cast<const Vector*>(from + w * s.C);
      const auto wins = (value > best) | ((value != value) & (best == best));
      best = wins ? value : best;
      won = wins ? Places{} + static_cast<std::int32_t>(place + w) : won;
    }
  }
  if (s.relu) {
    won = best > 0.0f ? won : Places{} + kNoPlace;
    best = best <= 0.0f ? Vector{} : best;
  }
  *reinterpret_cast<Vector*>(y) = best;
  *reinterpret_cast<Bytes*>(k) = __builtin_convertvector(won, Bytes);
}
// The same for `count` channels that do not fill a vector.
inline void max_of_few(const PoolImage& s, const Window& win, std::int64_t count, const float* from,
                       float* y, std::uint8_t* k) {
  for (std::int64_t c = 0; c < count; ++c) {
    float best = from[c];
    std::int64_t won = (win.h0 - win.top) * s.KW + win.w0 - win.left;
    for (std::int64_t h = win.h0; h < win.h1; ++h) {
      for (std::int64_t w = win.w0; w < win.w1; ++w) {
        const float value = from[((h - win.h0) * s.W + (w - win.w0)) * s.C + c];
        const bool wins = (value > best) | ((value != value) & (best == best));
        best = wins ? value : best;
        won = wins ? (h - win.top) * s.KW + (w - win.left) : won;
      }
    }
    if (s.relu && !(best > 0)) won = kNoPlace;
    y[c] = s.relu && best <= 0 ? 0 : best;
    k[c] = static_cast<std::uint8_t>(won);
  }
}

// How many positions from q on are done as one of that many times the channels: where the stride is
// 1 and the whole windows are in the image, neighbours lie side by side in x and in y. Few channels
// alone would leave vector lanes empty. What is compared stays in the first cache.
std::int64_t run_of(const PoolImage& s, const Window& win, std::int64_t q) {
  if (s.stride_w != 1 || win.w1 - win.w0 < s.KW) return 1;
  std::int64_t end = s.W - s.KW + s.pad_w + 1;  // the windows from here on reach beyond the image
  if (end > s.Q) end = s.Q;
  const std::int64_t cached = s.C < 1024 ? 2048 / s.C : 1;
  return end - q < cached ? end - q : cached;
}

void max_pool(const PoolImage& s, const float* x, float* y, std::uint8_t* k) {
  for (std::int64_t p = 0; p < s.P; ++p) {
    for (std::int64_t q = 0, run = 0; q < s.Q; q += run) {
      const Window win = window_of(s, p, q);
      run = run_of(s, win, q);
      const std::int64_t count = run * s.C;
      const float* from = x + (win.h0 * s.W + win.w0) * s.C;
      if (count < kWidth) {
        max_of_few(s, win, count, from, y, k);
      } else {
        for_vectors(count, [&](std::int64_t c) { max_of_window(s, win, from + c, y + c, k + c); });
      }
      y += count;
      k += count;
    }
  }
}

// dx (+)= dy at the places of one window that won. to: the window's first element in the image.
template <bool add>
inline __attribute__((always_inline)) void back_to_window(const PoolImage& s, const Window& win,
                                                          const float* dy, const std::uint8_t* k,
                                                          float* to) {
  const auto for_places = [&](auto f) {
    for (std::int64_t h = win.h0; h < win.h1; ++h) {
      for (std::int64_t w = win.w0; w < win.w1; ++w) {
        f((h - win.top) * s.KW + (w - win.left), to + ((h - win.h0) * s.W + (w - win.w0)) * s.C);
      }
    }
  };
  const auto vector = [&](std::int64_t c) {
    const Vector g = *reinterpret_cast<const Vector*>(dy + c);
    const auto won = __builtin_convertvector(*reinterpret_cast<const Bytes*>(k + c), Places);
    for_places([&](std::int64_t place, float* at) {
      Vector* const dx = reinterpret_cast<Vector*>(at + c);  // auto would forget its alignment
      const Vector back = won == Places{} + static_cast<std::int32_t>(place) ? g : Vector{};
      *dx = add ? *dx + back : back;
    });
  };
  if (!add && s.C >= kWidth) {
    for_vectors(s.C, vector);
    return;
  }
  std::int64_t c = 0;
  for (; c + kWidth <= s.C; c += kWidth) vector(c);
  for (; c < s.C; ++c) {
    for_places([&](std::int64_t place, float* at) {
      const float back = k[c] == place ? dy[c] : 0.0f;
      at[c] = add ? at[c] + back : back;
    });
  }
}

void scatter(const PoolImage& s, const float* dy, const std::uint8_t* k, float* dx) {
  // Windows that neither overlap nor leave an element out write each once.
  const bool tiles = s.stride_h == s.KH && s.stride_w == s.KW && s.P * s.KH == s.H &&
                     s.Q * s.KW == s.W && s.pad_h == 0 && s.pad_w == 0;
  if (!tiles) zero(dx, s.H * s.W * s.C);
  for (std::int64_t p = 0; p < s.P; ++p) {
    for (std::int64_t q = 0; q < s.Q; ++q, dy += s.C, k += s.C) {
      const Window win = window_of(s, p, q);
      float* to = dx + (win.h0 * s.W + win.w0) * s.C;
      if (tiles) {
        back_to_window<false>(s, win, dy, k, to);
      } else {
        back_to_window<true>(s, win, dy, k, to);
      }
    }
  }
}

void avg_pool(const PoolImage& s, const float* x, float* y) {
  for (std::int64_t p = 0; p < s.P; ++p) {
    for (std::int64_t q = 0; q < s.Q; ++q, y += s.C) {
      const Window win = window_of(s, p, q);
      zero(y, s.C);
      for (std::int64_t h = win.h0; h < win.h1; ++h) {
        for (std::int64_t w = win.w0; w < win.w1; ++w) {
          const float* from = x + (h * s.W + w) * s.C;
          for (std::int64_t c = 0; c < s.C; ++c) y[c] += from[c];
        }
      }
      const float places = share_of(s, win);
      for (std::int64_t c = 0; c < s.C; ++c) y[c] /= places;
    }
  }
}

void avg_gradient(const PoolImage& s, const float* dy, float* dx) {
  zero(dx, s.H * s.W * s.C);
  for (std::int64_t p = 0; p < s.P; ++p) {
    for (std::int64_t q = 0; q < s.Q; ++q, dy += s.C) {
      const Window win = window_of(s, p, q);
      const float places = share_of(s, win);
      for (std::int64_t h = win.h0; h < win.h1; ++h) {
        for (std::int64_t w = win.w0; w < win.w1; ++w) {
          float* to = dx + (h * s.W + w) * s.C;
          for (std::int64_t c = 0; c < s.C; ++c) to[c] += dy[c] / places;
        }
      }
    }
  }
}

}  // namespace

extern const Pool2dKernels pool2d_kernels;
const Pool2dKernels pool2d_kernels = {max_pool, scatter, avg_pool, avg_gradient};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
