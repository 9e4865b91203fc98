#include "tools/detection/detection_source.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/error.h"
#include "engine/philox.h"
#include "tools/data/resize.h"

namespace tapescope::detection {
namespace {

int scaled(int extent, double scale, int room) {
  return std::clamp(static_cast<int>(std::lround(extent * scale)), 1, room);
}

// What is drawn for one use of one sample.
PhiloxStream random_of(std::uint64_t domain, const Pipeline::Key& key) {
  return PhiloxStream(mix(mix(mix(key.seed, domain), static_cast<std::uint64_t>(key.epoch)),
                          static_cast<std::uint64_t>(key.sample)));
}

double uniform(PhiloxStream& random, double low, double high) {
  return low + (high - low) * random.uniform();
}

// out(x, y) = image((x - left) / scale, (y - top) / scale), bilinear between pixel centres.
Image moved(const Image& image, double scale, double left, double top) {
  Image out(image.height, image.width, 3, kGrey);
  for (int y = 0; y < out.height; ++y) {
    const double sy = (y + 0.5 - top) / scale - 0.5;
    if (sy < -0.5 || sy > image.height - 0.5) continue;
    const int y0 = std::clamp(static_cast<int>(std::floor(sy)), 0, image.height - 1);
    const int y1 = std::min(y0 + 1, image.height - 1);
    const auto fy = static_cast<float>(std::clamp(sy - y0, 0.0, 1.0));
    for (int x = 0; x < out.width; ++x) {
      const double sx = (x + 0.5 - left) / scale - 0.5;
      if (sx < -0.5 || sx > image.width - 0.5) continue;
      const int x0 = std::clamp(static_cast<int>(std::floor(sx)), 0, image.width - 1);
      const int x1 = std::min(x0 + 1, image.width - 1);
      const auto fx = static_cast<float>(std::clamp(sx - x0, 0.0, 1.0));
      for (int c = 0; c < 3; ++c) {
        const float above = static_cast<float>(image.at(y0, x0)[c]) * (1 - fx) +
                            static_cast<float>(image.at(y0, x1)[c]) * fx;
        const float below = static_cast<float>(image.at(y1, x0)[c]) * (1 - fx) +
                            static_cast<float>(image.at(y1, x1)[c]) * fx;
        out.at(y, x)[c] = static_cast<std::uint8_t>(above * (1 - fy) + below * fy + 0.5f);
      }
    }
  }
  return out;
}

void flip(Image& image, std::vector<Object>& objects, bool horizontal) {
  const Image before = image;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const std::uint8_t* from =
          horizontal ? before.at(y, image.width - 1 - x) : before.at(image.height - 1 - y, x);
      std::copy_n(from, 3, image.at(y, x));
    }
  }
  for (Object& o : objects) {
    if (horizontal) {
      o.box.x = image.width - o.box.x - o.box.w;
    } else {
      o.box.y = image.height - o.box.y - o.box.h;
    }
  }
}

// Scale, shift, contrast and brightness.
void change(Image& image, std::vector<Object>& objects, PhiloxStream& random) {
  const double scale = uniform(random, 0.75, 1.35);
  const double free_x = image.width * (1 - scale), free_y = image.height * (1 - scale);
  const double left = std::min(0.0, free_x) + std::abs(free_x) * random.uniform();
  const double top = std::min(0.0, free_y) + std::abs(free_y) * random.uniform();
  image = moved(image, scale, left, top);
  for (Object& o : objects) {
    o.box = {o.box.x * scale + left, o.box.y * scale + top, o.box.w * scale, o.box.h * scale};
    o.area *= scale * scale;
  }
  cut(objects, {0, 0, static_cast<double>(image.width), static_cast<double>(image.height)});
  const auto contrast = static_cast<float>(uniform(random, 0.7, 1.3));
  const auto brightness = static_cast<float>(uniform(random, -25, 25));
  double sum = 0;
  for (std::uint8_t v : image.pixels) sum += v;
  const auto mean = static_cast<float>(sum / static_cast<double>(image.pixels.size()));
  for (std::uint8_t& v : image.pixels) {
    const float changed = (static_cast<float>(v) - mean) * contrast + mean + brightness;
    v = static_cast<std::uint8_t>(std::clamp(changed + 0.5f, 0.0f, 255.0f));
  }
}

}  // namespace

Box Letterbox::into_input(const Box& b) const {
  return {b.x * scale + left, b.y * scale + top, b.w * scale, b.h * scale};
}
Box Letterbox::into_picture(const Box& b, int height, int width) const {
  const double x0 = std::clamp<double>((b.x - left) / scale, 0, width);
  const double y0 = std::clamp<double>((b.y - top) / scale, 0, height);
  const double x1 = std::clamp<double>((b.x + b.w - left) / scale, 0, width);
  const double y1 = std::clamp<double>((b.y + b.h - top) / scale, 0, height);
  return {x0, y0, x1 - x0, y1 - y0};
}

Letterbox letterbox_of(int picture_height, int picture_width, int height, int width,
                       const InputForm& form) {
  Letterbox box;
  box.scale = std::min(static_cast<double>(height) / picture_height,
                       static_cast<double>(width) / picture_width);
  if (form.corner) return box;
  box.left = std::floor((width - std::round(picture_width * box.scale)) / 2);
  box.top = std::floor((height - std::round(picture_height * box.scale)) / 2);
  return box;
}

Image letterboxed(const Image& picture, const Letterbox& box, int height, int width) {
  const int h = scaled(picture.height, box.scale, height);
  const int w = scaled(picture.width, box.scale, width);
  const Image resized = resize_bilinear(picture, h, w);
  if (h == height && w == width) return resized;
  Image out(height, width, 3, kGrey);
  for (int y = 0; y < h; ++y) {
    std::copy_n(resized.at(y, 0), 3 * w,
                out.at(y + static_cast<int>(box.top), static_cast<int>(box.left)));
  }
  return out;
}

void normalise(const Image& image, const InputForm& form, float* out) {
  std::array<std::array<float, 256>, 3> table{};
  for (std::size_t c = 0; c < 3; ++c) {
    const auto mean = static_cast<float>(form.mean[form.mean.size() == 1 ? 0 : c]);
    const auto std = static_cast<float>(form.std[form.std.size() == 1 ? 0 : c]);
    for (std::size_t v = 0; v < 256; ++v) {
      table[c][v] = (static_cast<float>(v) / 255.0f - mean) / std;
    }
  }
  for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
    for (std::size_t c = 0; c < 3; ++c) out[i + c] = table[c][image.pixels[i + c]];
  }
}

void draw_targets(std::span<const Object> objects, int height, int width, int classes, float* heat,
                  float* sides, float* weight) {
  constexpr double kReach = 0.54;  // of the box that its ellipse covers
  const int h = height / kStride, w = width / kStride;
  std::fill_n(heat, h * w * classes, 0.0f);
  std::fill_n(sides, h * w * 4, 0.0f);
  std::fill_n(weight, h * w, 0.0f);
  std::vector<Object> ordered(objects.begin(), objects.end());
  for (const Object& o : ordered) {
    if (!o.crowd) continue;
    for (int y = 0; y < h; ++y) {
      for (int x = 0; x < w; ++x) {
        const double across = (x + 0.5) * kStride - o.box.x, down = (y + 0.5) * kStride - o.box.y;
        if (across >= 0 && across < o.box.w && down >= 0 && down < o.box.h) {
          heat[(y * w + x) * classes + o.category] = kNoLoss;
        }
      }
    }
  }
  std::erase_if(ordered, [](const Object& o) { return o.crowd; });
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const Object& a, const Object& b) { return a.box.area() > b.box.area(); });
  for (const Object& o : ordered) {
    const Box& b = o.box;
    const int cx = std::clamp(static_cast<int>((b.x + b.w / 2) / kStride), 0, w - 1);
    const int cy = std::clamp(static_cast<int>((b.y + b.h / 2) / kStride), 0, h - 1);
    const int rx = static_cast<int>(kReach * b.w / (2 * kStride));
    const int ry = static_cast<int>(kReach * b.h / (2 * kStride));
    const double sx = (2 * rx + 1) / 6.0, sy = (2 * ry + 1) / 6.0;
    const auto value_at = [&](int x, int y) {
      return std::exp(-((x - cx) * (x - cx) / (2 * sx * sx) + (y - cy) * (y - cy) / (2 * sy * sy)));
    };
    const int x0 = std::max(0, cx - rx), x1 = std::min(w - 1, cx + rx);
    const int y0 = std::max(0, cy - ry), y1 = std::min(h - 1, cy + ry);
    double sum = 0;
    for (int y = y0; y <= y1; ++y) {
      for (int x = x0; x <= x1; ++x) sum += value_at(x, y);
    }
    const double importance = std::log(std::max(b.area(), 2.0));
    for (int y = y0; y <= y1; ++y) {
      for (int x = x0; x <= x1; ++x) {
        const double g = value_at(x, y);
        const int cell = y * w + x;
        float& seen = heat[cell * classes + o.category];
        seen = std::max(seen, static_cast<float>(g));
        const double box[] = {b.x, b.y, b.x + b.w, b.y + b.h};
        for (int k = 0; k < 4; ++k) sides[cell * 4 + k] = static_cast<float>(box[k]);
        weight[cell] = static_cast<float>(importance * g / sum);
      }
    }
  }
}

DetectionSource::DetectionSource(std::vector<AnnotatedImage> images, int classes, int height,
                                 int width, Augment augment, std::int64_t mosaic_epochs,
                                 InputForm form, std::shared_ptr<PictureRoom> room)
    : images_(std::move(images)),
      classes_(classes),
      height_(height),
      width_(width),
      augment_(augment),
      mosaic_epochs_(mosaic_epochs),
      form_(std::move(form)),
      cache_(size(), room ? std::move(room) : PictureRoom::of_memory()) {}

DetectionSource::DetectionSource(std::vector<AnnotatedImage> images, const DetectorConfig& config,
                                 bool targets)
    : DetectionSource(std::move(images), static_cast<int>(config.classes.size()),
                      static_cast<int>(config.height), static_cast<int>(config.width),
                      Augment::none, 0, config.form) {
  targets_ = targets;
}

std::vector<std::pair<std::string, Type>> DetectionSource::types() const {
  if (!targets_) return {{"image", {DType::f32, {height_, width_, 3}}}};
  const std::int64_t h = height_ / kStride, w = width_ / kStride;
  return {{"image", {DType::f32, {height_, width_, 3}}},
          {"heat", {DType::f32, {h, w, classes_}}},
          {"sides", {DType::f32, {h, w, 4}}},
          {"weight", {DType::f32, {h, w, 1}}}};
}

Letterbox DetectionSource::letterbox(std::int64_t index) const {
  const AnnotatedImage& a = annotation(index);
  return letterbox_of(a.height, a.width, height_, width_, form_);
}

ImageView DetectionSource::input(std::int64_t index) const {
  return cache_.at(index, [&] {
    return letterboxed(read_annotated(annotation(index)), letterbox(index), height_, width_);
  });
}

Tile DetectionSource::tile(std::int64_t index) const {
  const AnnotatedImage& picture = annotation(index);
  const Letterbox box = letterbox(index);
  Tile tile{input(index),
            static_cast<int>(box.left),
            static_cast<int>(box.top),
            scaled(picture.width, box.scale, width_),
            scaled(picture.height, box.scale, height_),
            picture.objects};
  for (Object& o : tile.objects) {
    o.box = box.into_input(o.box);
    o.area = o.box.area();
  }
  return tile;
}

// The picture itself at one of the four places, any others at the rest.
Sample DetectionSource::mosaic(std::int64_t index, const Pipeline::Key& key) const {
  PhiloxStream random = random_of(stable_hash("mosaic"), key);
  const int x = static_cast<int>(std::lround(width_ * uniform(random, 0.25, 0.75)));
  const int y = static_cast<int>(std::lround(height_ * uniform(random, 0.25, 0.75)));
  const std::uint32_t own = random.below(4);
  std::array<Tile, 4> tiles;
  for (std::uint32_t i = 0; i < 4; ++i) {
    const auto other = random.below(static_cast<std::uint32_t>(size()));
    tiles[i] = tile(i == own ? index : other);
  }
  return mosaic_of(tiles, y, x);
}

void DetectionSource::load(std::int64_t index, const Pipeline::Key& key,
                           std::span<void* const> rows) const {
  Sample sample = key.epoch < mosaic_epochs_ ? mosaic(index, key)
                                             : Sample{copy_of(input(index)), tile(index).objects};
  if (augment_ != Augment::none) {
    PhiloxStream random = random_of(stable_hash("detection"), key);
    const bool horizontal = random.uniform() < 0.5f, vertical = random.uniform() < 0.5f;
    if (horizontal) flip(sample.image, sample.objects, true);
    if (vertical && augment_ == Augment::flip_both) flip(sample.image, sample.objects, false);
    change(sample.image, sample.objects, random);
  }
  normalise(sample.image, form_, static_cast<float*>(rows[0]));
  if (!targets_) return;
  draw_targets(sample.objects, height_, width_, classes_, static_cast<float*>(rows[1]),
               static_cast<float*>(rows[2]), static_cast<float*>(rows[3]));
}

}  // namespace tapescope::detection
