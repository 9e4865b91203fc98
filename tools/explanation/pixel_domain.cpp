#include "tools/explanation/pixel_domain.h"

namespace tapescope {

explain::Bound pixel_value(double value, const ModelInfo& info, const Picture& like) {
  const auto one_pixel = [&](std::uint8_t shade) {
    const Image& image = like.image;
    Tensor input(like.input.type());
    info.pipeline.apply(view_of(Image(image.height, image.width, image.channels, shade)), {},
                        input.values<float>().data());
    const auto channels = static_cast<std::ptrdiff_t>(input.shape()[3]);
    const auto all = input.values<float>();
    return std::vector<double>(all.begin(), all.begin() + channels);
  };
  // Every pipeline is linear in a pixel: so are values between and beyond black and white.
  const std::vector<double> black = one_pixel(0), white = one_pixel(255);
  std::vector<double> result;
  for (std::size_t c = 0; c < black.size(); ++c) {
    result.push_back(black[c] + value * (white[c] - black[c]));
  }
  return result;
}

}  // namespace tapescope
