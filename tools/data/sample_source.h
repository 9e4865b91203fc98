// What batches are made of: named tensors, a row of each per sample.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/tensor.h"
#include "tools/data/dataset.h"
#include "tools/data/picture_cache.h"
#include "tools/data/transforms.h"

namespace tapescope {

// A fixed list of samples. All members may be called from several threads.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  virtual std::int64_t size() const = 0;
  // Name and type of each tensor of one sample: {"image", f32 {H,W,C}}, {"label", i64 {}}. May
  // decode a picture to know.
  virtual std::vector<std::pair<std::string, Type>> types() const = 0;
  // Writes sample `index` to `rows`, one pointer a tensor of types(). Random numbers come from
  // `key` alone. Throws a usage error that names what cannot be read.
  virtual void load(std::int64_t index, const Pipeline::Key& key,
                    std::span<void* const> rows) const = 0;
  // Whether a sample is the same in every epoch: no augmentation.
  virtual bool repeats() const { return false; }
};

// Labelled pictures through a pipeline: "image" and "label".
class ImageSource final : public SampleSource {
 public:
  // `room`, if any, keeps pictures as they are before the pipeline's first random step.
  ImageSource(std::shared_ptr<const Dataset> data, Pipeline pipeline,
              std::shared_ptr<PictureRoom> room = nullptr);
  std::int64_t size() const override { return data_->size(); }
  std::vector<std::pair<std::string, Type>> types() const override;
  void load(std::int64_t index, const Pipeline::Key& key,
            std::span<void* const> rows) const override;
  bool repeats() const override { return !pipeline_.is_random(); }

 private:
  // What `rest_` is of: after the fixed steps where pictures are kept, the data's otherwise.
  ImageView picture(std::int64_t index) const;
  Shape sample_shape(std::int64_t index) const;
  std::shared_ptr<const Dataset> data_;
  Pipeline pipeline_, rest_;
  std::optional<PictureCache> cache_;
  mutable std::once_flag shape_once_;
  mutable Shape shape_;  // of the first sample: all are alike
};

}  // namespace tapescope
