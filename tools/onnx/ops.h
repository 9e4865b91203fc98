// The op functions, by subject: each file's are listed in op_table.cpp.
#pragma once

#include "tools/onnx/recorder.h"

namespace tapescope::onnx {

// --- element-wise (ops_elementwise.cpp)
// All operands in the layout of the largest, ready to be combined; `like` is what the result is.
std::vector<Var> aligned(const Call& call, Value& like);
inline Var logical_not(Var x) { return affine(x, -1, 1); }  // of ones and zeros
void record_binary_op(Call& call);  // Add Sub Mul Div Pow, comparisons, And Or Xor
void record_many_op(Call& call);    // Max Min Sum Mean
void record_where(Call& call);
void record_cast(Call& call);  // Cast CastLike
// --- activations (ops_activation.cpp)
void record_function(Call& call);    // of one operand, without attributes
void record_activation(Call& call);  // with attributes
void record_clip(Call& call);
void record_prelu(Call& call);
void record_dropout(Call& call);
// --- images (ops_convolution.cpp, ops_pooling.cpp, resize.cpp)
void record_conv(Call& call);
void record_conv_transpose(Call& call);
void record_pool(Call& call);         // MaxPool AveragePool
void record_global_pool(Call& call);  // GlobalAveragePool GlobalMaxPool
void record_resize(Call& call);       // Resize Upsample
// --- normalisation (ops_normalisation.cpp)
void record_batch_normalisation(Call& call);
void record_layer_normalisation(Call& call);    // LayerNormalization RMSNormalization
void record_channel_normalisation(Call& call);  // InstanceNormalization GroupNormalization
void record_lp_normalisation(Call& call);
void record_mean_variance_normalisation(Call& call);
void record_lrn(Call& call);
// --- matrices (ops_matrix.cpp)
void record_gemm(Call& call);
void record_matmul(Call& call);
// x {.., K} in memory by the transpose of a matrix {O, K}; the rows of a batch stay apart.
Var by_matrix(Var x, Var matrix, bool batched);
// --- reductions and softmax (ops_reduce.cpp)
void record_reduce(Call& call);
void record_arg_max(Call& call);  // ArgMax ArgMin
void record_softmax(Call& call);  // Softmax LogSoftmax
std::vector<int> reduced_axes(const Call& call, int rank);
// --- axes (ops_shape.cpp)
void record_reshape(Call& call);
void record_flatten(Call& call);
void record_squeeze(Call& call);
void record_unsqueeze(Call& call);
void record_transpose(Call& call);
void record_identity(Call& call);
void record_shape(Call& call);
void record_expand(Call& call);
void record_depth_to_space(Call& call);
void record_space_to_depth(Call& call);
// What Reshape's numbers mean for these extents; `batch` receives the axis that is the batch.
Shape resolve_reshape(const Call& call, const Value& value, std::vector<Number> target, int& batch);
// --- parts (ops_parts.cpp)
void record_concat(Call& call);
void record_split(Call& call);
void record_slice(Call& call);
void record_gather(Call& call);
void record_pad(Call& call);
void record_tile(Call& call);
struct Range {
  int axis;
  std::int64_t start, step, count;
};
std::vector<Range> slice_ranges(const Call& call, const Shape& extents, int batch);
std::vector<std::int64_t> split_sizes(const Call& call, std::int64_t extent);
// Every step-th element of a memory axis, `count` of them.
Var strided(Var x, int axis, std::int64_t start, std::int64_t step, std::int64_t count);
// These elements of a memory axis, in this order.
Var picked(Var x, int axis, const std::vector<std::int64_t>& indices);
// --- known numbers (fold_*.cpp)
void fold_elementwise(Call& call);
void fold_where(Call& call);
void fold_cast(Call& call);
void fold_reduce(Call& call);
void fold_constant(Call& call);
void fold_constant_of_shape(Call& call);
void fold_range(Call& call);
void fold_reshape(Call& call);  // Reshape Flatten Squeeze Unsqueeze
void fold_transpose(Call& call);
void fold_concat(Call& call);
void fold_split(Call& call);
void fold_slice(Call& call);
void fold_gather(Call& call);
void fold_expand(Call& call);  // Expand Tile

}  // namespace tapescope::onnx
