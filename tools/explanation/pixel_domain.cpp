#include "tools/explanation/pixel_domain.h"

namespace tapescope {

explain::Bound pixel_value(double value, const Preprocess& preprocess) {
  const PixelScale scale = pixel_scale(preprocess);
  std::vector<double> result;
  for (std::size_t c = 0; c < scale.mean.size(); ++c) {
    result.push_back((value - scale.mean[c]) / scale.std[c]);
  }
  return result;
}

}  // namespace tapescope
