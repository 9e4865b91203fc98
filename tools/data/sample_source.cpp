#include "tools/data/sample_source.h"

#include "engine/error.h"

namespace tapescope {

ImageSource::ImageSource(std::shared_ptr<const Dataset> data, Pipeline pipeline,
                         std::shared_ptr<PictureRoom> room)
    : data_(std::move(data)), pipeline_(std::move(pipeline)), rest_(pipeline_) {
  if (room == nullptr) return;
  rest_ = pipeline_.rest();
  cache_.emplace(data_->size(), std::move(room));
}

ImageView ImageSource::picture(std::int64_t index) const {
  if (!cache_) return data_->image(index);
  return cache_->at(index, [&] { return pipeline_.fixed(data_->image(index)); });
}

Shape ImageSource::sample_shape(std::int64_t index) const {
  const ImageView image = picture(index);
  return rest_.output_shape(image.height, image.width, image.channels);
}

std::vector<std::pair<std::string, Type>> ImageSource::types() const {
  return {{"image", {DType::f32, sample_shape(0)}}, {"label", {DType::i64, {}}}};
}

void ImageSource::load(std::int64_t index, const Pipeline::Key& key,
                       std::span<void* const> rows) const {
  const ImageView image = picture(index);
  const Shape shape = rest_.output_shape(image.height, image.width, image.channels);
  std::call_once(shape_once_, [&] { shape_ = sample_shape(0); });
  if (!(shape == shape_)) {
    throw usage_error(
        "{}: gives a sample of {} where the first picture gave {}; resize the pictures to one "
        "size, "
        "for instance with --image-size",
        data_->name(index), to_string(shape), to_string(shape_));
  }
  rest_.apply(image, key, static_cast<float*>(rows[0]));
  *static_cast<std::int64_t*>(rows[1]) = data_->label(index);
}

}  // namespace tapescope
