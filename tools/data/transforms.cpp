#include "tools/data/transforms.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/error.h"
#include "engine/philox.h"
#include "tools/data/overloaded.h"
#include "tools/data/window.h"

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
  const int pad_top = std::max(0, (height - window.height()) / 2);
  const int pad_left = std::max(0, (width - window.width()) / 2);
  const int padded_height = std::max(height, window.height());
  const int padded_width = std::max(width, window.width());
  const int y = round_half_even((padded_height - height) / 2.0) - pad_top;
  const int x = round_half_even((padded_width - width) / 2.0) - pad_left;
  window.crop(y, x, height, width);
}

// Uniform in [0, bound).
int draw_below(PhiloxStream& random, int bound) {
  return static_cast<int>(random.below(static_cast<std::uint32_t>(bound)));
}

void random_resized_crop(const RandomResizedCrop& t, PhiloxStream& random, Window& window) {
  const double area = static_cast<double>(window.height()) * window.width();
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
    if (width > 0 && width <= window.width() && height > 0 && height <= window.height()) {
      y = draw_below(random, window.height() - height + 1);
      x = draw_below(random, window.width() - width + 1);
    }
  }
  if (y < 0) {  // the largest central window whose ratio is allowed
    const double ratio = static_cast<double>(window.width()) / window.height();
    width = window.width();
    height = window.height();
    if (ratio < t.smallest_ratio) {
      height = std::clamp(round_half_even(width / t.smallest_ratio), 1, window.height());
    } else if (ratio > t.largest_ratio) {
      width = std::clamp(round_half_even(height * t.largest_ratio), 1, window.width());
    }
    y = (window.height() - height) / 2;
    x = (window.width() - width) / 2;
  }
  window.crop(y, x, height, width);
  window.resize(t.height, t.width, Interpolation::bilinear);
}

bool is_random(const Transform& t) {
  return std::holds_alternative<RandomCrop>(t) || std::holds_alternative<RandomResizedCrop>(t) ||
         std::holds_alternative<RandomHorizontalFlip>(t);
}

// A step that moves pixels; others are passed over.
void take(const Transform& transform, Window& window, PhiloxStream& random) {
  std::visit(Overloaded{[&](const Resize& t) {
                          const auto [height, width] = resized(t, window.height(), window.width());
                          window.resize(height, width, t.interpolation);
                        },
                        [&](const CenterCrop& t) { center_crop(window, t.height, t.width); },
                        [&](const RandomCrop& t) {
                          check_crop(t, window.height(), window.width());
                          const int p = t.padding;
                          const int y = draw_below(random, window.height() + 2 * p - t.height + 1);
                          const int x = draw_below(random, window.width() + 2 * p - t.width + 1);
                          window.crop(y - p, x - p, t.height, t.width);
                        },
                        [&](const RandomHorizontalFlip& t) {
                          if (random.uniform_f64() < t.probability) window.flip();
                        },
                        [&](const RandomResizedCrop& t) { random_resized_crop(t, random, window); },
                        [](const ToTensor&) {}, [](const Normalize&) {}},
             transform);
}

// value = pixel * scale + shift, which is ToTensor and every Normalize at once.
struct Affine {
  double scale[3] = {1 / 255.0, 1 / 255.0, 1 / 255.0};
  double shift[3] = {0, 0, 0};
  void then(const Normalize& t) {
    for (std::size_t c = 0; c < 3; ++c) {
      const std::size_t i = t.mean.size() == 1 ? 0 : c;
      if (i >= t.mean.size()) break;
      scale[c] /= t.std[i];
      shift[c] = (shift[c] - t.mean[i]) / t.std[i];
    }
  }
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
  const int row = window.width() * window.channels();
  const bool plain = window.inside() && !window.flipped();
  bool uniform = true;
  for (int c = 1; c < window.channels(); ++c) {
    uniform = uniform && affine.scale[c] == affine.scale[0] && affine.shift[c] == affine.shift[0];
  }
  const auto scale = static_cast<float>(affine.scale[0]);
  const auto shift = static_cast<float>(affine.shift[0]);
  if (plain && uniform && window.is_whole_width()) {
    convert(window.row(0), scale, shift, std::ptrdiff_t{row} * window.height(), out);
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
  for (int y = 0; y < window.height(); ++y, out += row) {
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

Normalize imagenet_normalize() { return {{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}}; }

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
  return std::any_of(transforms_.begin(), transforms_.end(),
                     [](const Transform& t) { return tapescope::is_random(t); });
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

Shape Pipeline::shape_after(std::size_t steps, int height, int width, int channels) const {
  for (std::size_t i = 0; i < steps; ++i) {
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
        transforms_[i]);
  }
  return {height, width, channels};
}

Shape Pipeline::output_shape(int height, int width, int channels) const {
  return shape_after(transforms_.size(), height, width, channels);
}

Shape Pipeline::fixed_shape(int height, int width, int channels) const {
  return shape_after(fixed_steps(), height, width, channels);
}

std::size_t Pipeline::fixed_steps() const {
  const auto end = std::find_if(transforms_.begin(), transforms_.end(), [](const Transform& t) {
    return tapescope::is_random(t) || std::holds_alternative<ToTensor>(t);
  });
  return static_cast<std::size_t>(end - transforms_.begin());
}

Image Pipeline::fixed(const ImageView& image) const {
  PhiloxStream none(0);
  Window window(image);
  for (std::size_t i = 0; i < fixed_steps(); ++i) take(transforms_[i], window, none);
  return window.image();
}

Pipeline Pipeline::rest() const {
  return Pipeline(std::vector<Transform>(
      transforms_.begin() + static_cast<std::ptrdiff_t>(fixed_steps()), transforms_.end()));
}

void Pipeline::apply(const ImageView& image, const Key& key, float* out) const {
  const auto u64 = [](std::int64_t value) { return static_cast<std::uint64_t>(value); };
  constexpr std::uint64_t kDomain = stable_hash("augmentation");
  PhiloxStream random(mix(mix(mix(key.seed, kDomain), u64(key.epoch)), u64(key.sample)));
  Window window(image);
  Affine affine;
  for (const Transform& transform : transforms_) {
    if (const auto* t = std::get_if<Normalize>(&transform)) {
      if (t->mean.size() != 1 && static_cast<int>(t->mean.size()) != image.channels) {
        output_shape(image.height, image.width, image.channels);
      }
      affine.then(*t);
    } else {
      take(transform, window, random);
    }
  }
  window.settle();
  write(window, affine, out);
}

}  // namespace tapescope
