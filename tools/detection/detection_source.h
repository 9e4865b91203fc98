// Annotated pictures as samples: letterboxed, changed at random, and what is to be learnt of them.
#pragma once

#include <memory>

#include "tools/data/sample_source.h"
#include "tools/detection/annotations.h"
#include "tools/detection/box_net.h"
#include "tools/detection/mosaic.h"

namespace tapescope::detection {

constexpr int kStride = 4;  // pixels of the input a cell of the heat map

// Where a picture lies in the input: input = picture * scale + (left, top).
struct Letterbox {
  double scale = 1, left = 0, top = 0;
  Box into_input(const Box& box) const;
  // Back to the picture, clipped to it.
  Box into_picture(const Box& box, int height, int width) const;
};
// Proportions kept; centred, unless the form says otherwise.
Letterbox letterbox_of(int picture_height, int picture_width, int height, int width,
                       const InputForm& form = {});
// The picture in a frame of grey (114).
Image letterboxed(const Image& picture, const Letterbox& box, int height, int width);

// u8 {H,W,3} to f32 {H,W,3}: (v / 255 - mean) / std.
void normalise(const Image& image, const InputForm& form, float* out);

enum class Augment {
  none,
  flip,
  flip_both
};  // and, unless none, scale, shift, contrast, brightness

// What a heat map with regression to four sides is to learn from the boxes of one input (Liu et al.
// 2019, "Training-time-friendly network", arXiv 1909.00700): heat {h,w,C} with a Gaussian ellipse a
// box, sides {h,w,4} the box (x0, y0, x1, y1) that a cell regresses to, weight {h,w,1} how much
// that counts. Small boxes are drawn over large ones. Within a region of a crowd there may be any
// number of objects of its class: cells whose middle lies in it are kNoLoss and cost nothing,
// whatever is found there, but for the centres of boxes that are annotated.
// The largest heat that is no centre: what a cell without object costs is shrunk by (1 - heat)^4,
// here 2^-96.
constexpr float kNoLoss = 0x1.fffffep-1f;
void draw_targets(std::span<const Object> objects, int height, int width, int classes, float* heat,
                  float* sides, float* weight);

// "image" f32 {H,W,3}, "heat" f32 {h,w,C}, "sides" f32 {h,w,4}, "weight" f32 {h,w,1}; of a net that
// is not trained here "image" alone.
class DetectionSource final : public SampleSource {
 public:
  // Letterboxed pictures are kept in `room`; null: PictureRoom::of_memory(). height and width:
  // multiples of 16. Samples of epochs before `mosaic_epochs` are mosaics of four
  // pictures: the last epochs should see pictures as they are.
  DetectionSource(std::vector<AnnotatedImage> images, int classes, int height, int width,
                  Augment augment, std::int64_t mosaic_epochs = 0, InputForm form = {},
                  std::shared_ptr<PictureRoom> room = nullptr);
  // Pictures as they are, for a detector of that size and form; with what there is to learn of
  // them, or without.
  DetectionSource(std::vector<AnnotatedImage> images, const DetectorConfig& config, bool targets);
  std::int64_t size() const override { return static_cast<std::int64_t>(images_.size()); }
  std::vector<std::pair<std::string, Type>> types() const override;
  void load(std::int64_t index, const Pipeline::Key& key,
            std::span<void* const> rows) const override;
  bool repeats() const override { return augment_ == Augment::none && mosaic_epochs_ == 0; }

  const AnnotatedImage& annotation(std::int64_t index) const {
    return images_[static_cast<std::size_t>(index)];
  }
  Letterbox letterbox(std::int64_t index) const;
  int classes() const { return classes_; }

 private:
  ImageView input(std::int64_t index) const;
  // The picture's rectangle and objects in its input.
  Tile tile(std::int64_t index) const;
  Sample mosaic(std::int64_t index, const Pipeline::Key& key) const;
  std::vector<AnnotatedImage> images_;
  int classes_, height_, width_;
  Augment augment_;
  std::int64_t mosaic_epochs_;
  InputForm form_;
  bool targets_ = true;
  PictureCache cache_;  // letterboxed
};

}  // namespace tapescope::detection
