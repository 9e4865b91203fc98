// Data sets that are drawn.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/philox.h"
#include "tools/data/dataset.h"

namespace tapescope {

// Pictures of two classes in turn.
class DrawnPictures : public Dataset {
 public:
  std::int64_t size() const override { return static_cast<std::int64_t>(images_.size()); }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::int64_t index) const override { return index % 2; }
  std::string name(std::int64_t index) const override { return std::to_string(index); }
  ImageView image(std::int64_t index) const override {
    return view_of(images_[static_cast<std::size_t>(index)]);
  }
  int channels() const override { return channels_; }

 protected:
  DrawnPictures(int channels, std::vector<std::string> classes)
      : channels_(channels), classes_(std::move(classes)) {}
  int channels_;
  std::vector<Image> images_ = {};

 private:
  std::vector<std::string> classes_;
};

// Noise with a bright upper (class 0) or lower (class 1) half.
class Halves final : public DrawnPictures {
 public:
  explicit Halves(std::int64_t size, int side = 12) : DrawnPictures(1, {"upper", "lower"}) {
    for (std::int64_t i = 0; i < size; ++i) {
      Image image(side, side, 1);
      PhiloxStream random(static_cast<std::uint64_t>(i));
      for (int y = 0; y < side; ++y) {
        for (int x = 0; x < side; ++x) {
          const bool bright = (y < side / 2) == (i % 2 == 0);
          *image.at(y, x) = static_cast<std::uint8_t>(random.below(100) + (bright ? 120u : 0u));
        }
      }
      images_.push_back(std::move(image));
    }
  }
};

}  // namespace tapescope
