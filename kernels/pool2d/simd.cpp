// Compiled once per instruction set: no STL, no inline function from elsewhere.
#include "kernels/pool2d/simd.h"

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
float share_of(const PoolImage& s, const Window& w) {
  const std::int64_t places = s.count_include_pad ? s.KH * s.KW : (w.h1 - w.h0) * (w.w1 - w.w0);
  return static_cast<float>(places);
}
void zero(float* data, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) data[i] = 0;
}

void max_pool(const PoolImage& s, const float* x, float* y, std::uint8_t* k) {
  for (std::int64_t p = 0; p < s.P; ++p) {
    for (std::int64_t q = 0, run = 0; q < s.Q; q += run) {
      const Window win = window_of(s, p, q);
      run = run_of(s, win, q);
      const std::int64_t count = run * s.C;
      bool first = true;
      for (std::int64_t h = win.h0; h < win.h1; ++h) {
        for (std::int64_t w = win.w0; w < win.w1; ++w) {
          const float* from = x + (h * s.W + w) * s.C;
          const auto place = static_cast<std::uint8_t>((h - win.top) * s.KW + (w - win.left));
          if (first) {
            for (std::int64_t c = 0; c < count; ++c) y[c] = from[c], k[c] = place;
            first = false;
            continue;
          }
#pragma omp simd
          for (std::int64_t c = 0; c < count; ++c) {
            const float value = from[c], best = y[c];
            const bool wins = (value > best) | ((value != value) & (best == best));
            y[c] = wins ? value : best;
            k[c] = wins ? place : k[c];
          }
        }
      }
      y += count;
      k += count;
    }
  }
}

void scatter(const PoolImage& s, const float* dy, const std::uint8_t* k, float* dx) {
  zero(dx, s.H * s.W * s.C);
  for (std::int64_t p = 0; p < s.P; ++p) {
    for (std::int64_t q = 0; q < s.Q; ++q, dy += s.C, k += s.C) {
      const Window win = window_of(s, p, q);
      for (std::int64_t h = win.h0; h < win.h1; ++h) {
        for (std::int64_t w = win.w0; w < win.w1; ++w) {
          float* to = dx + (h * s.W + w) * s.C;
          const auto place = static_cast<std::uint8_t>((h - win.top) * s.KW + (w - win.left));
#pragma omp simd
          for (std::int64_t c = 0; c < s.C; ++c) to[c] += k[c] == place ? dy[c] : 0.0f;
        }
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
