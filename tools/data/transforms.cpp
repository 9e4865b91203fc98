#include "tools/data/transforms.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/error.h"
#include "engine/philox.h"
#include "tools/data/overloaded.h"
#include "tools/data/resize.h"

namespace tapescope {
namespace {

void check_size(const Transform& transform, int height, int width) {
  constexpr int kLargest = 1 << 15;
  if (height < 1 || width < 1 || height > kLargest || width > kLargest) {
    throw usage_error("{} asks for {} x {} pixels; sizes are from 1 to {}", to_string(transform),
                      height, width, kLargest);
  }
}

void check(const Transform& transform) {
  const auto wrong = [&](const char* remedy) {
    return usage_error("{}: {}", to_string(transform), remedy);
  };
  std::visit(
      Overloaded{[&](const Resize& t) {
                   if (t.height == 0 && t.width == 0) {
                     check_size(transform, t.short_side, t.short_side);
                   } else {
                     check_size(transform, t.height, t.width);
                   }
                 },
                 [&](const CenterCrop& t) { check_size(transform, t.height, t.width); },
                 [&](const RandomCrop& t) {
                   check_size(transform, t.height, t.width);
                   if (t.padding < 0 || t.padding > 4096)
                     throw wrong("padding is from 0 to 4096 pixels");
                 },
                 [&](const RandomHorizontalFlip& t) {
                   if (!(t.probability >= 0 && t.probability <= 1)) {
                     throw wrong("the probability p is from 0 to 1");
                   }
                 },
                 [&](const RandomResizedCrop& t) {
                   check_size(transform, t.height, t.width);
                   if (!(t.smallest_area > 0 && t.smallest_area <= t.largest_area &&
                         t.largest_area <= 1)) {
                     throw wrong("scale is two shares of the area, above 0, in order, up to 1");
                   }
                   if (!(t.smallest_ratio > 0 && t.smallest_ratio <= t.largest_ratio &&
                         std::isfinite(t.largest_ratio))) {
                     throw wrong("ratio is two ratios of width to height, above 0, in order");
                   }
                 },
                 [](const ToTensor&) {},
                 [&](const Normalize& t) {
                   if (t.mean.empty() || t.mean.size() != t.std.size()) {
                     throw wrong(
                         "mean and std need the same number of entries, one or one per channel");
                   }
                   for (double m : t.mean) {
                     if (!std::isfinite(m)) throw wrong("every mean must be finite");
                   }
                   for (double s : t.std) {
                     if (!(s > 0) || !std::isfinite(s)) throw wrong("every std must be above 0");
                   }
                 }},
      transform);
}

// Python's round(): halves go to the even neighbour.
int round_half_even(double value) { return static_cast<int>(std::nearbyint(value)); }

// The picture so far: `height` x `width` pixels at (top, left) of a base picture, read from right
// to left where `flipped`. Pixels outside `valid` (base coordinates, ends excluded) are black.
struct Window {
  const std::uint8_t* base = nullptr;  // u8 {base_height, base_width, channels}
  int base_width = 0;
  int channels = 0;
  int top = 0;
  int left = 0;
  int height = 0;
  int width = 0;
  int valid_top = 0;
  int valid_bottom = 0;
  int valid_left = 0;
  int valid_right = 0;
  bool flipped = false;

  explicit Window(const ImageView& image)
      : base(image.pixels),
        base_width(image.width),
        channels(image.channels),
        height(image.height),
        width(image.width),
        valid_bottom(image.height),
        valid_right(image.width) {}

  // To rows [y, y + h) and columns [x, x + w) of what is seen; these may reach outside, where
  // black is seen.
  void crop(int y, int x, int h, int w) {
    valid_top = std::max(valid_top, top);
    valid_bottom = std::min(valid_bottom, top + height);
    valid_left = std::max(valid_left, left);
    valid_right = std::min(valid_right, left + width);
    top += y;
    left += flipped ? width - x - w : x;
    height = h;
    width = w;
  }
  bool inside() const {
    return top >= valid_top && top + height <= valid_bottom && left >= valid_left &&
           left + width <= valid_right;
  }
  const std::uint8_t* row(int y) const {
    return base + (std::ptrdiff_t{top + y} * base_width + left) * channels;
  }
  // Row y as it is seen. out: u8 {width, channels}
  void copy_row(int y, std::uint8_t* out) const {
    const auto bytes = [&](int pixels) { return static_cast<std::size_t>(pixels * channels); };
    const int row_in_base = top + y;
    const int first = std::clamp(valid_left - left, 0, width);
    const int last = std::clamp(valid_right - left, first, width);
    if (row_in_base < valid_top || row_in_base >= valid_bottom || first == last) {
      std::memset(out, 0, bytes(width));
      return;
    }
    const std::uint8_t* from = row(y);
    if (!flipped) {
      std::memset(out, 0, bytes(first));
      std::memcpy(out + bytes(first), from + bytes(first), bytes(last - first));
      std::memset(out + bytes(last), 0, bytes(width - last));
      return;
    }
    std::memset(out, 0, bytes(width - last));
    std::memset(out + bytes(width - first), 0, bytes(first));
    std::uint8_t* to = out + bytes(width - last);
    if (channels == 1) {
      std::reverse_copy(from + first, from + last, to);
    } else {
      for (int x = last - 1; x >= first; --x, to += 3) std::memcpy(to, from + x * 3, 3);
    }
  }
};

// The same pixels in memory of their own.
Image materialize(const Window& window) {
  Image image(window.height, window.width, window.channels);
  for (int y = 0; y < window.height; ++y) window.copy_row(y, image.at(y, 0));
  return image;
}

// Resizes what the window sees into `store` and makes the window see that.
void resize(Window& window, int height, int width, Image& store,
            Interpolation interpolation = Interpolation::bilinear) {
  if (height == window.height && width == window.width) return;
  if (!window.inside() || window.flipped) {
    store = resized_image(materialize(window), height, width, interpolation);
  } else {
    const ImageView view{window.height, window.width, window.channels, window.row(0), nullptr};
    store = resized_image(view, std::ptrdiff_t{window.base_width} * window.channels, height, width,
                          interpolation);
  }
  window = Window(view_of(store));
}

std::pair<int, int> resized(const Resize& t, int height, int width) {
  if (t.height != 0) return {t.height, t.width};
  const auto scaled = [&](int longer, int shorter) {
    return static_cast<int>(std::int64_t{t.short_side} * longer / shorter);
  };
  if (height <= width) return {t.short_side, std::max(1, scaled(width, height))};
  return {std::max(1, scaled(height, width)), t.short_side};
}

void check_crop(const RandomCrop& t, int height, int width) {
  if (height + 2 * t.padding < t.height || width + 2 * t.padding < t.width) {
    throw usage_error(
        "a random crop of {} x {} does not fit a picture of {} x {} with {} pixels of "
        "padding; resize first, or pad more",
        t.height, t.width, height, width, t.padding);
  }
}

void center_crop(Window& window, int height, int width) {
  // A smaller picture is padded first, the odd pixel at the end, as torchvision does.
  const int pad_top = std::max(0, (height - window.height) / 2);
  const int pad_left = std::max(0, (width - window.width) / 2);
  const int padded_height = std::max(height, window.height);
  const int padded_width = std::max(width, window.width);
  const int y = round_half_even((padded_height - height) / 2.0) - pad_top;
  const int x = round_half_even((padded_width - width) / 2.0) - pad_left;
  window.crop(y, x, height, width);
}

// Uniform in [0, bound).
int draw_below(PhiloxStream& random, int bound) {
  return static_cast<int>(random.below(static_cast<std::uint32_t>(bound)));
}

void random_resized_crop(const RandomResizedCrop& t, PhiloxStream& random, Window& window,
                         Image& store) {
  const double area = static_cast<double>(window.height) * window.width;
  const double log_low = std::log(t.smallest_ratio);
  const double log_high = std::log(t.largest_ratio);
  int height = 0;
  int width = 0;
  int y = -1;
  int x = -1;
  for (int attempt = 0; attempt < 10 && y < 0; ++attempt) {
    const double target =
        area * (t.smallest_area + (t.largest_area - t.smallest_area) * random.uniform_f64());
    const double ratio = std::exp(log_low + (log_high - log_low) * random.uniform_f64());
    width = round_half_even(std::sqrt(target * ratio));
    height = round_half_even(std::sqrt(target / ratio));
    if (width > 0 && width <= window.width && height > 0 && height <= window.height) {
      y = draw_below(random, window.height - height + 1);
      x = draw_below(random, window.width - width + 1);
    }
  }
  if (y < 0) {  // the largest central window whose ratio is allowed
    const double ratio = static_cast<double>(window.width) / window.height;
    width = window.width;
    height = window.height;
    if (ratio < t.smallest_ratio) {
      height = std::clamp(round_half_even(width / t.smallest_ratio), 1, window.height);
    } else if (ratio > t.largest_ratio) {
      width = std::clamp(round_half_even(height * t.largest_ratio), 1, window.width);
    }
    y = (window.height - height) / 2;
    x = (window.width - width) / 2;
  }
  window.crop(y, x, height, width);
  resize(window, t.height, t.width, store);
}

// value = pixel * scale + shift, which is ToTensor and every Normalize at once.
struct Affine {
  double scale[3] = {1 / 255.0, 1 / 255.0, 1 / 255.0};
  double shift[3] = {0, 0, 0};
};

// in: u8 {n}; out: f32 {n}
void convert(const std::uint8_t* __restrict in, float scale, float shift, std::ptrdiff_t n,
             float* __restrict out) {
  for (std::ptrdiff_t i = 0; i < n; ++i) out[i] = static_cast<float>(in[i]) * scale + shift;
}
// in: u8 {n}; scale, shift, out: f32 {n}
void convert(const std::uint8_t* __restrict in, const float* __restrict scale,
             const float* __restrict shift, std::ptrdiff_t n, float* __restrict out) {
  for (std::ptrdiff_t i = 0; i < n; ++i) out[i] = static_cast<float>(in[i]) * scale[i] + shift[i];
}

// out: f32 {height, width, channels} of the window
void write(const Window& window, const Affine& affine, float* out) {
  const int row = window.width * window.channels;
  const bool plain = window.inside() && !window.flipped;
  bool uniform = true;
  for (int c = 1; c < window.channels; ++c) {
    uniform = uniform && affine.scale[c] == affine.scale[0] && affine.shift[c] == affine.shift[0];
  }
  const auto scale = static_cast<float>(affine.scale[0]);
  const auto shift = static_cast<float>(affine.shift[0]);
  if (plain && uniform && window.width == window.base_width) {
    convert(window.row(0), scale, shift, std::ptrdiff_t{row} * window.height, out);
    return;
  }
  thread_local std::vector<std::uint8_t> seen;
  thread_local std::vector<float> scales;
  thread_local std::vector<float> shifts;
  const auto size = static_cast<std::size_t>(row);
  if (!plain) seen.resize(size);
  if (!uniform) {
    scales.resize(size);
    shifts.resize(size);
    for (std::size_t i = 0; i < size; ++i) {
      scales[i] = static_cast<float>(affine.scale[i % 3]);
      shifts[i] = static_cast<float>(affine.shift[i % 3]);
    }
  }
  for (int y = 0; y < window.height; ++y, out += row) {
    const std::uint8_t* from = plain ? window.row(y) : seen.data();
    if (!plain) window.copy_row(y, seen.data());
    if (uniform) {
      convert(from, scale, shift, row, out);
    } else {
      convert(from, scales.data(), shifts.data(), row, out);
    }
  }
}

}  // namespace

Pipeline::Pipeline(std::vector<Transform> transforms) : transforms_(std::move(transforms)) {
  bool tensor = false;
  for (const Transform& transform : transforms_) {
    check(transform);
    const bool makes_tensor = std::holds_alternative<ToTensor>(transform);
    const bool wants_tensor = std::holds_alternative<Normalize>(transform);
    if (makes_tensor && tensor)
      throw usage_error("{} has ToTensor twice; leave one out", to_json());
    if (wants_tensor && !tensor) {
      throw usage_error("{} normalises before ToTensor; put Normalize after it", to_json());
    }
    if (!makes_tensor && !wants_tensor && tensor) {
      throw usage_error("{} has {} after ToTensor; crops, flips and resizing come before it",
                        to_json(), to_string(transform));
    }
    tensor = tensor || makes_tensor;
  }
  if (!tensor)
    throw usage_error("{} has no ToTensor; add it before Normalize or at the end", to_json());
}

bool Pipeline::is_random() const {
  return std::any_of(transforms_.begin(), transforms_.end(), [](const Transform& t) {
    return std::holds_alternative<RandomCrop>(t) || std::holds_alternative<RandomResizedCrop>(t) ||
           std::holds_alternative<RandomHorizontalFlip>(t);
  });
}

Pipeline Pipeline::sized(int side) const {
  const auto sizes = [](const Transform& t) {
    const auto* resize = std::get_if<Resize>(&t);
    return (resize != nullptr && resize->height != 0) || std::holds_alternative<CenterCrop>(t) ||
           std::holds_alternative<RandomCrop>(t) || std::holds_alternative<RandomResizedCrop>(t);
  };
  if (std::any_of(transforms_.begin(), transforms_.end(), sizes)) return *this;
  std::vector<Transform> all = {Resize{.height = side, .width = side}};
  all.insert(all.end(), transforms_.begin(), transforms_.end());
  return Pipeline(std::move(all));
}

Shape Pipeline::output_shape(int height, int width, int channels) const {
  for (const Transform& transform : transforms_) {
    std::visit(
        Overloaded{[&](const Resize& t) { std::tie(height, width) = resized(t, height, width); },
                   [&](const CenterCrop& t) {
                     height = t.height;
                     width = t.width;
                   },
                   [&](const RandomCrop& t) {
                     check_crop(t, height, width);
                     height = t.height;
                     width = t.width;
                   },
                   [](const RandomHorizontalFlip&) {},
                   [&](const RandomResizedCrop& t) {
                     height = t.height;
                     width = t.width;
                   },
                   [](const ToTensor&) {},
                   [&](const Normalize& t) {
                     if (t.mean.size() != 1 && static_cast<int>(t.mean.size()) != channels) {
                       throw usage_error(
                           "{} has {} channels and the pictures have {}; give one number or "
                           "one per channel",
                           to_string(t), t.mean.size(), channels);
                     }
                   }},
        transform);
  }
  return {height, width, channels};
}

void Pipeline::apply(const ImageView& image, const Key& key, float* out) const {
  const auto u64 = [](std::int64_t value) { return static_cast<std::uint64_t>(value); };
  constexpr std::uint64_t kDomain = stable_hash("augmentation");
  PhiloxStream random(mix(mix(mix(key.seed, kDomain), u64(key.epoch)), u64(key.sample)));
  Window window(image);
  Image store;
  Affine affine;
  for (const Transform& transform : transforms_) {
    std::visit(
        Overloaded{
            [&](const Resize& t) {
              const auto [height, width] = resized(t, window.height, window.width);
              resize(window, height, width, store, t.interpolation);
            },
            [&](const CenterCrop& t) { center_crop(window, t.height, t.width); },
            [&](const RandomCrop& t) {
              check_crop(t, window.height, window.width);
              const int p = t.padding;
              const int y = draw_below(random, window.height + 2 * p - t.height + 1);
              const int x = draw_below(random, window.width + 2 * p - t.width + 1);
              window.crop(y - p, x - p, t.height, t.width);
            },
            [&](const RandomHorizontalFlip& t) {
              if (random.uniform_f64() < t.probability) {
                window.flipped = !window.flipped;
              }
            },
            [&](const RandomResizedCrop& t) { random_resized_crop(t, random, window, store); },
            [](const ToTensor&) {},
            [&](const Normalize& t) {
              if (t.mean.size() != 1 && static_cast<int>(t.mean.size()) != image.channels) {
                output_shape(image.height, image.width, image.channels);
              }
              for (int c = 0; c < 3; ++c) {
                const auto i = t.mean.size() == 1 ? 0 : static_cast<std::size_t>(c);
                if (i >= t.mean.size()) break;
                affine.scale[c] /= t.std[i];
                affine.shift[c] = (affine.shift[c] - t.mean[i]) / t.std[i];
              }
            }},
        transform);
  }
  write(window, affine, out);
}

}  // namespace tapescope
