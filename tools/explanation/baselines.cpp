#include "tools/explanation/baselines.h"

#include <algorithm>
#include <cmath>

#include "engine/philox.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

Tensor through_pipeline(const Image& image, const Preprocess& preprocess, const Tensor& like) {
  Tensor result(like.type());
  preprocess.pipeline.apply(view_of(image), {}, result.values<float>().data());
  return result;
}

Tensor noise(const Picture& picture, const Preprocess& preprocess, std::uint64_t seed) {
  Image image = picture.image;
  PhiloxStream random(seed);
  for (std::uint8_t& v : image.pixels) v = static_cast<std::uint8_t>(random.below(256));
  return through_pipeline(image, preprocess, picture.input);
}

Tensor channel_means(const Tensor& input) {
  Tensor result(input.type());
  const auto channels = static_cast<std::size_t>(input.shape()[3]);
  const auto from = input.values<float>();
  for (std::size_t c = 0; c < channels; ++c) {
    double sum = 0;
    for (std::size_t i = c; i < from.size(); i += channels) sum += from[i];
    const double mean = sum * static_cast<double>(channels) / static_cast<double>(from.size());
    for (std::size_t i = c; i < from.size(); i += channels) {
      result.values<float>()[i] = static_cast<float>(mean);
    }
  }
  return result;
}

// One pass along an axis of `extent` elements, `stride` apart; edges are repeated.
Tensor blurred_along(const Tensor& input, std::int64_t extent, std::int64_t stride, double sigma) {
  const auto reach = static_cast<std::int64_t>(std::ceil(3 * sigma));
  std::vector<double> kernel;
  double total = 0;
  for (std::int64_t d = -reach; d <= reach; ++d) {
    kernel.push_back(std::exp(-0.5 * static_cast<double>(d * d) / (sigma * sigma)));
    total += kernel.back();
  }
  Tensor result(input.type());
  const auto from = input.values<float>();
  for (std::int64_t i = 0; i < input.elements(); ++i) {
    const std::int64_t place = i / stride % extent;
    double sum = 0;
    for (std::int64_t d = -reach; d <= reach; ++d) {
      const std::int64_t other = std::clamp<std::int64_t>(place + d, 0, extent - 1);
      sum += kernel[static_cast<std::size_t>(d + reach)] *
             from[static_cast<std::size_t>(i + (other - place) * stride)];
    }
    result.values<float>()[static_cast<std::size_t>(i)] = static_cast<float>(sum / total);
  }
  return result;
}

Tensor blurred(const Tensor& input) {
  const Shape& s = input.shape();
  const double sigma = std::max(1.0, static_cast<double>(std::min(s[1], s[2])) / 8);
  return blurred_along(blurred_along(input, s[2], s[3], sigma), s[1], s[2] * s[3], sigma);
}

}  // namespace

std::vector<Tensor> baselines(const std::string& names, const Picture& picture,
                              const Preprocess& preprocess, std::uint64_t seed) {
  std::vector<Tensor> result;
  for (const std::string& name : comma_separated(names)) {
    const auto filled = [&](std::uint8_t value) {
      const Image& like = picture.image;
      return through_pipeline(Image(like.height, like.width, like.channels, value), preprocess,
                              picture.input);
    };
    if (name == "black") {
      result.push_back(filled(0));
    } else if (name == "white") {
      result.push_back(filled(255));
    } else if (name == "noise") {
      result.push_back(noise(picture, preprocess, seed));
    } else if (name == "mean") {
      result.push_back(channel_means(picture.input));
    } else if (name == "blur") {
      result.push_back(blurred(picture.input));
    } else if (name == "zero") {
      result.push_back(Tensor::zeros(picture.input.type()));
    } else {
      throw usage_error(
          "--baseline '{}' is none of black, white, noise, mean, blur, zero (several with commas)",
          name);
    }
  }
  return result;
}

}  // namespace tapescope
