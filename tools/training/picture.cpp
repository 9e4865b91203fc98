#include "tools/training/picture.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "tools/data/idx.h"
#include "tools/data/recolour.h"

namespace tapescope {
namespace {

// "train-images-idx3-ubyte.gz[12]": picture 12 of an IDX file, as evaluations name it.
struct IdxEntry {
  std::string file;
  std::int64_t index = -1;
};
IdxEntry idx_entry(const std::string& path) {
  const std::size_t open = path.rfind('[');
  if (open == std::string::npos || !path.ends_with(']')) return {};
  const std::string digits = path.substr(open + 1, path.size() - open - 2);
  if (digits.empty() || digits.size() > 9 ||
      digits.find_first_not_of("0123456789") != std::string::npos) {
    return {};
  }
  return {path.substr(0, open), std::stoll(digits)};
}

// The file that was read last: pictures of one file usually come together.
struct LastIdx {
  std::mutex mutex;
  std::string file;
  std::shared_ptr<const IdxArray> array;
};
LastIdx last_idx;

std::shared_ptr<const IdxArray> idx_of(const std::string& file) {
  const std::lock_guard lock(last_idx.mutex);
  if (last_idx.array == nullptr || last_idx.file != file) {
    last_idx.array = std::make_shared<const IdxArray>(read_idx(file));
    last_idx.file = file;
  }
  return last_idx.array;
}

Image read_idx_entry(const IdxEntry& entry, int channels_wanted) {
  const std::shared_ptr<const IdxArray> read = idx_of(entry.file);
  const IdxArray& array = *read;
  if (array.extents.size() < 3 || entry.index >= array.extents[0]) {
    throw usage_error("'{}' has no picture {}; it holds {}", entry.file, entry.index,
                      array.extents.size() < 3 ? 0 : array.extents[0]);
  }
  const std::int64_t channels = array.extents.size() > 3 ? array.extents[3] : 1;
  Image image(static_cast<int>(array.extents[1]), static_cast<int>(array.extents[2]),
              static_cast<int>(channels));
  const auto size = static_cast<std::int64_t>(image.pixels.size());
  std::copy_n(array.bytes.begin() + entry.index * size, size, image.pixels.begin());
  return image.channels == channels_wanted ? image : recoloured(view_of(image), channels_wanted);
}

}  // namespace

Picture make_picture(Image image, const std::string& path, const Preprocess& preprocess) {
  Picture picture;
  picture.path = path;
  picture.image = std::move(image);
  if (const IdxEntry entry = idx_entry(path); entry.index >= 0 && !std::filesystem::exists(path)) {
    const std::string file = std::filesystem::path(entry.file).filename().string();
    picture.stem = fmt::format("{}-{}", file.substr(0, file.find('.')), entry.index);
  } else {
    picture.stem = std::filesystem::path(path).stem().string();
  }
  if (picture.image.channels != preprocess.channels()) {
    throw usage_error("'{}' has {} channels, but this model takes {}", path, picture.image.channels,
                      preprocess.channels());
  }
  const Shape shape = preprocess.pipeline.output_shape(picture.image.height, picture.image.width,
                                                       picture.image.channels);
  const std::int64_t height = preprocess.image[0], width = preprocess.image[1];
  if (shape[0] != height || shape[1] != width) {
    throw usage_error(
        "'{}' is {}x{}, but this model takes {}x{} and its pipeline does not make it that; "
        "resize the picture first",
        path, picture.image.height, picture.image.width, height, width);
  }
  picture.input = Tensor({DType::f32, shape.with_leading(1)});
  preprocess.pipeline.apply(view_of(picture.image), {}, picture.input.values<float>().data());
  return picture;
}

Picture read_picture(const std::string& path, const Preprocess& preprocess) {
  const IdxEntry entry = idx_entry(path);
  const int channels = preprocess.channels();
  const bool in_idx = entry.index >= 0 && !std::filesystem::exists(path);
  return make_picture(
      in_idx ? read_idx_entry(entry, channels) : read_image(path, channels, preprocess.exif), path,
      preprocess);
}

namespace {

// Every element through f(value, channel).
template <class F>
Tensor each(const Tensor& from, std::size_t channels, F&& f) {
  Tensor to(from.type());
  const auto in = from.values<float>();
  for (std::size_t i = 0; i < in.size(); ++i) {
    to.values<float>()[i] = static_cast<float>(f(in[i], i % channels));
  }
  return to;
}

}  // namespace

Tensor PixelScale::into_input(const Tensor& pixels) const {
  return each(pixels, mean.size(), [&](double v, std::size_t c) { return (v - mean[c]) / std[c]; });
}

Tensor PixelScale::into_pixels(const Tensor& input) const {
  return each(input, mean.size(), [&](double v, std::size_t c) { return v * std[c] + mean[c]; });
}

Tensor PixelScale::gradient(const Tensor& of_input) const {
  return each(of_input, mean.size(), [&](double v, std::size_t c) { return v / std[c]; });
}

PixelScale pixel_scale(const Preprocess& preprocess) {
  const auto channels = static_cast<std::size_t>(preprocess.channels());
  PixelScale scale{std::vector<double>(channels, 0), std::vector<double>(channels, 1)};
  for (const Transform& t : preprocess.pipeline.transforms()) {
    const auto* normalize = std::get_if<Normalize>(&t);
    if (normalize == nullptr) continue;
    for (std::size_t c = 0; c < channels; ++c) {
      scale.mean[c] = normalize->mean[normalize->mean.size() == 1 ? 0 : c];
      scale.std[c] = normalize->std[normalize->std.size() == 1 ? 0 : c];
    }
  }
  return scale;
}

Image image_of(const Tensor& pixels) {
  const Shape& s = pixels.shape();
  Image image(static_cast<int>(s[1]), static_cast<int>(s[2]), static_cast<int>(s[3]));
  const auto from = pixels.values<float>();
  for (std::size_t i = 0; i < from.size(); ++i) {
    image.pixels[i] = static_cast<std::uint8_t>(std::lround(255 * std::clamp(from[i], 0.0f, 1.0f)));
  }
  return image;
}

}  // namespace tapescope
