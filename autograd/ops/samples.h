// Short spellings for the operands of samples, and the list of ops.
#pragma once

#include "autograd/op.h"

namespace tapescope {

inline OperandSpec operand(Shape shape, OperandSpec::Values values) {
  return {{DType::f32, shape}, values};
}
inline OperandSpec normal(Shape shape) { return operand(shape, OperandSpec::Values::normal); }
inline OperandSpec index(Shape shape, std::int64_t bound) {
  return {{DType::i64, shape}, OperandSpec::Values::index, bound};
}
// The leading axis of this operand is not the batch.
inline OperandSpec fixed_extent(OperandSpec spec) {
  spec.batched = false;
  return spec;
}

// One function an op, named <op>_samples and defined in the op's file. autograd/ops/list.cpp lists
// them all.
std::vector<Sample> conv2d_samples();
std::vector<Sample> conv2d_data_gradient_samples();
std::vector<Sample> conv2d_weight_gradient_samples();
std::vector<Sample> matmul_samples();
std::vector<Sample> unary_samples();
std::vector<Sample> binary_samples();
std::vector<Sample> reduce_samples();
std::vector<Sample> reduce_like_samples();
std::vector<Sample> broadcast_like_samples();
std::vector<Sample> reshape_samples();
std::vector<Sample> cast_samples();
std::vector<Sample> softmax_samples();
std::vector<Sample> log_softmax_samples();
std::vector<Sample> softmax_gradient_samples();
std::vector<Sample> log_softmax_gradient_samples();
std::vector<Sample> log_softmax_nll_samples();
std::vector<Sample> log_softmax_nll_gradient_samples();
std::vector<Sample> gather_samples();
std::vector<Sample> scatter_samples();
std::vector<Sample> one_hot_samples();
std::vector<Sample> dropout_samples();
std::vector<Sample> relu_dropout_samples();
std::vector<Sample> batch_norm_training_samples();
std::vector<Sample> batch_norm_gradient_samples();
std::vector<Sample> batch_norm_inference_samples();
std::vector<Sample> increment_samples();
std::vector<Sample> sgd_update_samples();
std::vector<Sample> adamw_update_samples();
std::vector<Sample> transpose_samples();
std::vector<Sample> pad_samples();
std::vector<Sample> slice_samples();
std::vector<Sample> slice_like_samples();
std::vector<Sample> pad_like_samples();
std::vector<Sample> concat_samples();
std::vector<Sample> concat_part_samples();
std::vector<Sample> upsample_nearest_samples();
std::vector<Sample> upsample_bilinear_samples();
std::vector<Sample> upsample_nearest_gradient_samples();
std::vector<Sample> upsample_bilinear_gradient_samples();
std::vector<Sample> max_pool2d_samples();
std::vector<Sample> max_pool2d_scatter_samples();
std::vector<Sample> max_pool2d_gather_samples();
std::vector<Sample> avg_pool2d_samples();
std::vector<Sample> avg_pool2d_gradient_samples();
std::vector<Sample> count_like_samples();

}  // namespace tapescope
