// The list of ops. A new op is one line here and one file beside it.
#include "autograd/ops/samples.h"

namespace tapescope {

std::span<const OpEntry> all_ops() {
  static const OpEntry list[] = {
      {"conv2d", conv2d_samples},
      {"conv2d_data_gradient", conv2d_data_gradient_samples},
      {"conv2d_weight_gradient", conv2d_weight_gradient_samples},
  };
  return list;
}

}  // namespace tapescope
