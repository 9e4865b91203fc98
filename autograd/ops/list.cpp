// The list of ops: a new one is one word here and one file beside it, which defines <op>_samples().
#include "autograd/op.h"

// clang-format off
#define TAPESCOPE_OPS(OP) \
  OP(conv2d) OP(conv2d_data_gradient) OP(conv2d_weight_gradient) OP(conv2d_fused) OP(matmul) OP(unary) \
  OP(binary) OP(reduce) OP(reduce_like) OP(broadcast_like) OP(count_like) OP(reshape) OP(cast) OP(softmax) \
  OP(log_softmax) OP(softmax_gradient) OP(log_softmax_gradient) OP(log_softmax_nll) \
  OP(log_softmax_nll_gradient) OP(gather) OP(scatter) OP(dropout) OP(relu_dropout) OP(batch_norm_training) \
  OP(batch_norm_gradient) OP(batch_norm_inference) OP(batch_norm_relu) OP(batch_norm_relu_gradient) \
  OP(layer_norm) OP(layer_norm_gradient) OP(increment) OP(batched_matmul) OP(sgd_update) OP(adamw_update) \
  OP(transpose) OP(pad) OP(slice) OP(slice_like) OP(pad_like) OP(concat) OP(concat_part) \
  OP(upsample_nearest) OP(upsample_bilinear) OP(upsample_nearest_gradient) OP(upsample_bilinear_gradient) \
  OP(max_pool2d) OP(max_pool2d_relu) OP(max_pool2d_scatter) OP(max_pool2d_gather) OP(avg_pool2d) \
  OP(avg_pool2d_gradient) OP(running_statistics) OP(square_sums) OP(sum_in_order) OP(all_reduce)
// clang-format on

namespace tapescope {

#define TAPESCOPE_DECLARE(name) std::vector<Sample> name##_samples();
TAPESCOPE_OPS(TAPESCOPE_DECLARE)
#define TAPESCOPE_ENTRY(name) {#name, name##_samples},
std::span<const OpEntry> all_ops() {
  static const OpEntry list[] = {TAPESCOPE_OPS(TAPESCOPE_ENTRY)};
  return list;
}

}  // namespace tapescope
