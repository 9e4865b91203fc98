// What happens between a decoded picture and a row of the batch.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "engine/type.h"
#include "tools/data/image.h"
#include "tools/data/resize.h"

namespace tapescope {

// Each step is a plain value. Names, parameters and results are torchvision's for PIL pictures.

// To height x width; or, where height is 0, the shorter side to `short_side`, keeping proportions.
// With antialiasing.
struct Resize {
  int height = 0;
  int width = 0;
  int short_side = 0;
  Interpolation interpolation = Interpolation::bilinear;
  friend bool operator==(const Resize&, const Resize&) = default;
};
// The middle; black is added around a smaller picture.
struct CenterCrop {
  int height = 0;
  int width = 0;
  friend bool operator==(const CenterCrop&, const CenterCrop&) = default;
};
// A window at a uniformly drawn place, after adding `padding` black pixels on all four sides.
struct RandomCrop {
  int height = 0;
  int width = 0;
  int padding = 0;
  friend bool operator==(const RandomCrop&, const RandomCrop&) = default;
};
struct RandomHorizontalFlip {
  double probability = 0.5;
  friend bool operator==(const RandomHorizontalFlip&, const RandomHorizontalFlip&) = default;
};
// A window of a random share of the area and a random aspect ratio, resized (Szegedy et al., "Going
// deeper with convolutions", 2015, section 6).
struct RandomResizedCrop {
  int height = 0;
  int width = 0;
  double smallest_area = 0.08;
  double largest_area = 1.0;
  double smallest_ratio = 3.0 / 4.0;
  double largest_ratio = 4.0 / 3.0;
  friend bool operator==(const RandomResizedCrop&, const RandomResizedCrop&) = default;
};
// u8 0..255 to f32 0..1. Every pipeline has it once, after the steps above.
struct ToTensor {
  friend bool operator==(const ToTensor&, const ToTensor&) = default;
};
// (value - mean) / std; one number for all channels or one per channel.
struct Normalize {
  std::vector<double> mean;
  std::vector<double> std;
  friend bool operator==(const Normalize&, const Normalize&) = default;
};

// What nets that ImageNet taught mostly want of colours.
Normalize imagenet_normalize();

using Transform = std::variant<Resize, CenterCrop, RandomCrop, RandomHorizontalFlip,
                               RandomResizedCrop, ToTensor, Normalize>;

// A checked list of transforms, applied as one pass from 8-bit pixels into the batch: crops and
// flips only move a window, and resizing alone makes a copy.
class Pipeline {
 public:
  Pipeline() : Pipeline(std::vector<Transform>{ToTensor{}}) {}
  // Throws a usage error on an impossible order or parameter.
  explicit Pipeline(std::vector<Transform> transforms);

  // Whether the same picture comes out another way next time.
  bool is_random() const;
  const std::vector<Transform>& transforms() const { return transforms_; }
  friend bool operator==(const Pipeline& a, const Pipeline& b) {
    return a.transforms_ == b.transforms_;
  }

  // One line, for instance [{"type":"Resize","size":[32,32]},{"type":"ToTensor"}]; also usable as
  // a TOML string. from_json throws a usage error that names the wrong entry.
  std::string to_json() const;
  static Pipeline from_json(const std::string& text);

  // The same with a Resize to side x side in front where no step makes pictures of one size.
  Pipeline sized(int side) const;

  // {H, W, C} of the result for a picture of this size. Throws a usage error where a step cannot
  // be done (a crop larger than the padded picture) or Normalize has another number of channels.
  Shape output_shape(int height, int width, int channels) const;

  // The steps before the first random one, and the others: `rest` of what `fixed` gives is, bit for
  // bit, the whole of the picture.
  Image fixed(const ImageView& image) const;
  // {H, W, C} of it.
  Shape fixed_shape(int height, int width, int channels) const;
  Pipeline rest() const;

  // Names the random numbers of one use of one sample: nothing else, neither thread nor order nor
  // batch, enters them.
  struct Key {
    std::uint64_t seed = 0;
    std::int64_t epoch = 0;
    std::int64_t sample = 0;
  };
  // out: f32, output_shape of the picture. Thread-safe.
  void apply(const ImageView& image, const Key& key, float* out) const;

 private:
  std::size_t fixed_steps() const;
  Shape shape_after(std::size_t steps, int height, int width, int channels) const;
  std::vector<Transform> transforms_;
};

std::string to_string(const Transform& transform);  // its JSON object

}  // namespace tapescope
