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
typedef std::uint16_t Words __attribute__((vector_size(kWidth * 2)));

// By way of 16 bits: what is four times as wide the compiler converts element by element.
TAPESCOPE_INLINE Places load_places(const std::uint8_t* k) {
  const Bytes bytes = *reinterpret_cast<const Bytes*>(k);
  return __builtin_convertvector(__builtin_convertvector(bytes, Words), Places);
}
TAPESCOPE_INLINE void store_places(Places places, std::uint8_t* k) {
  *reinterpret_cast<Bytes*>(k) =
      __builtin_convertvector(__builtin_convertvector(places, Words), Bytes);
}

float share_of(const PoolImage& s, const Window& w) {
  const std::int64_t places = s.count_include_pad ? s.KH * s.KW : (w.h1 - w.h0) * (w.w1 - w.w0);
  return static_cast<float>(places);
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
template <class T>
inline __attribute__((always_inline)) void max_of_window(const PoolImage& s, const Window& win,
                                                         const T* from, T* y, std::uint8_t* k) {
  Vector best = load_vector(from);
  std::int64_t place = (win.h0 - win.top) * s.KW + win.w0 - win.left;
  Places won = Places{} + static_cast<std::int32_t>(place);
  for (std::int64_t h = win.h0; h < win.h1; ++h, from += s.W * s.C, place += s.KW) {
    for (std::int64_t w = 0; w < win.w1 - win.w0; ++w) {
      const Vector value = load_vector(from + w * s.C);
      const auto wins = (value > best) | ((value != value) & (best == best));
      best = wins ? value : best;
      won = wins ? Places{} + static_cast<std::int32_t>(place + w) : won;
    }
  }
  if (s.relu) {
    won = best > 0.0f ? won : Places{} + kNoPlace;
    best = best <= 0.0f ? Vector{} : best;
  }
  store_vector(best, y);
  store_places(won, k);
}
// The same for `count` channels that do not fill a vector.
template <class T>
void max_of_few(const PoolImage& s, const Window& win, std::int64_t count, const T* from, T* y,
                std::uint8_t* k) {
  for (std::int64_t c = 0; c < count; ++c) {
    float best = number(from[c]);
    std::int64_t won = (win.h0 - win.top) * s.KW + win.w0 - win.left;
    for (std::int64_t h = win.h0; h < win.h1; ++h) {
      for (std::int64_t w = win.w0; w < win.w1; ++w) {
        const float value = number(from[((h - win.h0) * s.W + (w - win.w0)) * s.C + c]);
        const bool wins = (value > best) | ((value != value) & (best == best));
        best = wins ? value : best;
        won = wins ? (h - win.top) * s.KW + (w - win.left) : won;
      }
    }
    if (s.relu && !(best > 0)) won = kNoPlace;
    put(s.relu && best <= 0 ? 0 : best, y[c]);
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

template <class T>
void max_pool(const PoolImage& s, const void* image, void* result, std::uint8_t* k) {
  const T* x = static_cast<const T*>(image);
  T* y = static_cast<T*>(result);
  for (std::int64_t p = 0; p < s.P; ++p) {
    for (std::int64_t q = 0, run = 0; q < s.Q; q += run) {
      const Window win = window_of(s, p, q);
      run = run_of(s, win, q);
      const std::int64_t count = run * s.C;
      const T* from = x + (win.h0 * s.W + win.w0) * s.C;
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

// The windows that hold an element of the image, in the order in which they lie.
struct Holders {
  int count = 0;
  struct {
    std::int64_t offset;  // of the window's result
    std::int32_t place;   // of the element in the window
    float share;          // of a mean: what the window's sum is divided by
  } windows[kLargestWindow];

  template <bool shares>
  void find(const PoolImage& s, std::int64_t h, std::int64_t w) {
    count = 0;
    const auto first = [](std::int64_t at, std::int64_t kernel, std::int64_t stride) {
      return at < kernel ? 0 : (at - kernel) / stride + 1;
    };
    const std::int64_t up = h + s.pad_h, left = w + s.pad_w;
    for (std::int64_t p = first(up, s.KH, s.stride_h); p < s.P && p * s.stride_h <= up; ++p) {
      for (std::int64_t q = first(left, s.KW, s.stride_w); q < s.Q && q * s.stride_w <= left; ++q) {
        const std::int64_t place = (up - p * s.stride_h) * s.KW + left - q * s.stride_w;
        windows[count++] = {(p * s.Q + q) * s.C, static_cast<std::int32_t>(place),
                            shares ? share_of(s, window_of(s, p, q)) : 0};
      }
    }
  }
};

// dx of every element: the sum of what the windows that hold it give, vector(window, c) of kWidth
// channels, or scalar(window, c) of one. Each is added up in f32 and written once.
template <bool shares, class T, class VectorOf, class ScalarOf>
inline __attribute__((always_inline)) void sum_of_holders(const PoolImage& s, T* dx,
                                                          VectorOf vector, ScalarOf scalar) {
  Holders holders;
  for (std::int64_t h = 0; h < s.H; ++h) {
    for (std::int64_t w = 0; w < s.W; ++w, dx += s.C) {
      holders.find<shares>(s, h, w);
      if (s.C < kWidth) {
        for (std::int64_t c = 0; c < s.C; ++c) {
          float sum = 0;
          for (int k = 0; k < holders.count; ++k) sum += scalar(holders.windows[k], c);
          put(sum, dx[c]);
        }
        continue;
      }
      for_vectors(s.C, [&](std::int64_t c) {
        Vector sum = {};
        for (int k = 0; k < holders.count; ++k) sum += vector(holders.windows[k], c);
        store_vector(sum, dx + c);
      });
    }
  }
}

// dx = dy at the places of one window that won, else 0. to: the window's first element in dx.
template <class T>
inline __attribute__((always_inline)) void back_to_window(const PoolImage& s, const Window& win,
                                                          const T* dy, const std::uint8_t* k,
                                                          T* to) {
  const auto for_places = [&](auto f) {
    for (std::int64_t h = win.h0; h < win.h1; ++h) {
      for (std::int64_t w = win.w0; w < win.w1; ++w) {
        f((h - win.top) * s.KW + (w - win.left), to + ((h - win.h0) * s.W + (w - win.w0)) * s.C);
      }
    }
  };
  if (s.C >= kWidth) {
    for_vectors(s.C, [&](std::int64_t c) {
      const Vector g = load_vector(dy + c);
      const Places won = load_places(k + c);
      for_places([&](std::int64_t place, T* at) {
        store_vector(won == Places{} + static_cast<std::int32_t>(place) ? g : Vector{}, at + c);
      });
    });
    return;
  }
  for (std::int64_t c = 0; c < s.C; ++c) {
    for_places(
        [&](std::int64_t place, T* at) { put(k[c] == place ? number(dy[c]) : 0.0f, at[c]); });
  }
}

template <class T>
void scatter(const PoolImage& s, const void* gradient, const std::uint8_t* k, void* result) {
  const T* dy = static_cast<const T*>(gradient);
  T* dx = static_cast<T*>(result);
  // Windows that neither overlap nor leave an element out write each once.
  const bool tiles = s.stride_h == s.KH && s.stride_w == s.KW && s.P * s.KH == s.H &&
                     s.Q * s.KW == s.W && s.pad_h == 0 && s.pad_w == 0;
  if (!tiles) {
    sum_of_holders<false>(
        s, dx,
        [=](const auto& window, std::int64_t c) {
          const Vector g = load_vector(dy + window.offset + c);
          return load_places(k + window.offset + c) == Places{} + window.place ? g : Vector{};
        },
        [=](const auto& window, std::int64_t c) {
          return k[window.offset + c] == window.place ? number(dy[window.offset + c]) : 0.0f;
        });
    return;
  }
  for (std::int64_t p = 0; p < s.P; ++p) {
    for (std::int64_t q = 0; q < s.Q; ++q, dy += s.C, k += s.C) {
      const Window win = window_of(s, p, q);
      back_to_window(s, win, dy, k, dx + (win.h0 * s.W + win.w0) * s.C);
    }
  }
}

template <class T>
void avg_pool(const PoolImage& s, const void* image, void* result) {
  const T* x = static_cast<const T*>(image);
  T* y = static_cast<T*>(result);
  for (std::int64_t p = 0; p < s.P; ++p) {
    for (std::int64_t q = 0; q < s.Q; ++q, y += s.C) {
      const Window win = window_of(s, p, q);
      const float places = share_of(s, win);
      const auto for_places = [&](auto f) {
        for (std::int64_t h = win.h0; h < win.h1; ++h) {
          for (std::int64_t w = win.w0; w < win.w1; ++w) f(x + (h * s.W + w) * s.C);
        }
      };
      if (s.C < kWidth) {
        for (std::int64_t c = 0; c < s.C; ++c) {
          float sum = 0;
          for_places([&](const T* from) { sum += number(from[c]); });
          put(sum / places, y[c]);
        }
        continue;
      }
      for_vectors(s.C, [&](std::int64_t c) {
        Vector sum = {};
        for_places([&](const T* from) { sum += load_vector(from + c); });
        store_vector(sum / places, y + c);
      });
    }
  }
}

template <class T>
void avg_gradient(const PoolImage& s, const void* gradient, void* result) {
  const T* dy = static_cast<const T*>(gradient);
  sum_of_holders<true>(
      s, static_cast<T*>(result),
      [=](const auto& window, std::int64_t c) {
        return load_vector(dy + window.offset + c) / window.share;
      },
      [=](const auto& window, std::int64_t c) {
        return number(dy[window.offset + c]) / window.share;
      });
}

template <class T>
constexpr Pool2dKernels kKernels = {max_pool<T>, scatter<T>, avg_pool<T>, avg_gradient<T>};

}  // namespace

extern const Pool2dTables pool2d_kernels;
const Pool2dTables pool2d_kernels = {kKernels<float>, kKernels<Half>};

}  // namespace TAPESCOPE_ISA
}  // namespace tapescope
