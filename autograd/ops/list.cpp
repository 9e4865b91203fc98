// The list of ops. A new op is one line here and one file beside it.
#include "autograd/ops/samples.h"

namespace tapescope {

std::span<const OpEntry> all_ops() {
  static const OpEntry list[] = {
      {"conv2d", conv2d_samples},
      {"conv2d_data_gradient", conv2d_data_gradient_samples},
      {"conv2d_weight_gradient", conv2d_weight_gradient_samples},
      {"matmul", matmul_samples},
      {"unary", unary_samples},
      {"binary", binary_samples},
      {"reduce", reduce_samples},
      {"reduce_like", reduce_like_samples},
      {"broadcast_like", broadcast_like_samples},
      {"count_like", count_like_samples},
      {"reshape", reshape_samples},
      {"cast", cast_samples},
      {"softmax", softmax_samples},
      {"log_softmax", log_softmax_samples},
      {"softmax_gradient", softmax_gradient_samples},
      {"log_softmax_gradient", log_softmax_gradient_samples},
      {"log_softmax_nll", log_softmax_nll_samples},
      {"log_softmax_nll_gradient", log_softmax_nll_gradient_samples},
      {"gather", gather_samples},
      {"scatter", scatter_samples},
      {"one_hot", one_hot_samples},
      {"dropout", dropout_samples},
      {"relu_dropout", relu_dropout_samples},
      {"batch_norm_training", batch_norm_training_samples},
      {"batch_norm_gradient", batch_norm_gradient_samples},
      {"batch_norm_inference", batch_norm_inference_samples},
      {"increment", increment_samples},
      {"sgd_update", sgd_update_samples},
      {"adamw_update", adamw_update_samples},
      {"transpose", transpose_samples},
      {"pad", pad_samples},
      {"slice", slice_samples},
      {"slice_like", slice_like_samples},
      {"pad_like", pad_like_samples},
      {"concat", concat_samples},
      {"concat_part", concat_part_samples},
      {"upsample_nearest", upsample_nearest_samples},
      {"upsample_bilinear", upsample_bilinear_samples},
      {"upsample_nearest_gradient", upsample_nearest_gradient_samples},
      {"upsample_bilinear_gradient", upsample_bilinear_gradient_samples},
      {"max_pool2d", max_pool2d_samples},
      {"max_pool2d_scatter", max_pool2d_scatter_samples},
      {"max_pool2d_gather", max_pool2d_gather_samples},
      {"avg_pool2d", avg_pool2d_samples},
      {"avg_pool2d_gradient", avg_pool2d_gradient_samples},
  };
  return list;
}

}  // namespace tapescope
