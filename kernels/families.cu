// The families that have GPU kernels. A new one is a declaration and a line here.
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/cast/cast.h"
#include "kernels/common/gpu.h"
#include "kernels/common/gpu_tables.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gather/gather.h"
#include "kernels/increment/increment.h"
#include "kernels/layout/layout.h"
#include "kernels/log_softmax/log_softmax.h"
#include "kernels/log_softmax/nll.h"
#include "kernels/matmul/matmul.h"
#include "kernels/optimizer/many.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool2d/pool2d.h"
#include "kernels/reduce/reduce.h"

namespace tapescope::TAPESCOPE_GPU {

std::span<const Variant<Conv2dShape>> conv2d_variants();
std::span<const Variant<Conv2dShape>> conv2d_data_gradient_variants();
std::span<const Variant<Conv2dShape>> conv2d_weight_gradient_variants();
std::span<const Variant<MatmulShape>> matmul_variants();
std::span<const Variant<UnaryShape>> unary_variants();
std::span<const Variant<BinaryShape>> binary_variants();
std::span<const Variant<ReduceShape>> reduce_variants();
std::span<const Variant<BroadcastShape>> broadcast_like_variants();
std::span<const Variant<SoftmaxShape>> log_softmax_variants();
std::span<const Variant<SoftmaxShape>> softmax_variants();
std::span<const Variant<SoftmaxShape>> log_softmax_nll_variants();
std::span<const Variant<SoftmaxShape>> log_softmax_nll_gradient_variants();
std::span<const Variant<SoftmaxShape>> log_softmax_gradient_variants();
std::span<const Variant<SoftmaxShape>> softmax_gradient_variants();
std::span<const Variant<BatchNormShape>> batch_norm_training_variants();
std::span<const Variant<BatchNormShape>> batch_norm_inference_variants();
std::span<const Variant<BatchNormShape>> batch_norm_gradient_variants();
std::span<const Variant<SgdShape>> sgd_variants();
std::span<const Variant<SgdManyShape>> sgd_many_variants();
std::span<const Variant<AdamwManyShape>> adamw_many_variants();
std::span<const Variant<AdamwShape>> adamw_variants();
std::span<const Variant<CastShape>> cast_variants();
std::span<const Variant<GatherShape>> gather_rows_element_variants();
std::span<const Variant<GatherShape>> scatter_rows_element_variants();
std::span<const Variant<GatherShape>> one_hot_variants();
std::span<const Variant<PadShape>> pad_variants();
std::span<const Variant<SliceShape>> slice_variants();
std::span<const Variant<ConcatShape>> concat_variants();
std::span<const Variant<TransposeShape>> transpose_variants();
std::span<const Variant<UpsampleShape>> upsample_nearest_variants();
std::span<const Variant<UpsampleShape>> upsample_bilinear_variants();
std::span<const Variant<UpsampleShape>> upsample_nearest_gradient_variants();
std::span<const Variant<UpsampleShape>> upsample_bilinear_gradient_variants();
std::span<const Variant<Pool2dShape>> max_pool2d_variants();
std::span<const Variant<Pool2dShape>> max_pool2d_scatter_variants();
std::span<const Variant<Pool2dShape>> max_pool2d_gather_variants();
std::span<const Variant<Pool2dShape>> avg_pool2d_variants();
std::span<const Variant<Pool2dShape>> avg_pool2d_gradient_variants();
std::span<const Variant<DropoutShape>> dropout_variants();
std::span<const Variant<DropoutShape>> relu_dropout_variants();
std::span<const Variant<IncrementShape>> increment_variants();

GpuTables gpu_tables() {
  static const GpuTable tables[] = {
      gpu_table_of(conv2d_variants()),
      gpu_table_of(conv2d_data_gradient_variants()),
      gpu_table_of(conv2d_weight_gradient_variants()),
      gpu_table_of(matmul_variants()),
      gpu_table_of(unary_variants()),
      gpu_table_of(binary_variants()),
      gpu_table_of(reduce_variants()),
      gpu_table_of(broadcast_like_variants()),
      gpu_table_of(log_softmax_variants()),
      gpu_table_of(softmax_variants()),
      gpu_table_of(log_softmax_nll_variants()),
      gpu_table_of(log_softmax_nll_gradient_variants()),
      gpu_table_of(log_softmax_gradient_variants()),
      gpu_table_of(softmax_gradient_variants()),
      gpu_table_of(batch_norm_training_variants()),
      gpu_table_of(batch_norm_inference_variants()),
      gpu_table_of(batch_norm_gradient_variants()),
      gpu_table_of(sgd_variants()),
      gpu_table_of(sgd_many_variants()),
      gpu_table_of(adamw_many_variants()),
      gpu_table_of(adamw_variants()),
      gpu_table_of(cast_variants()),
      gpu_table_of(gather_rows_element_variants()),
      gpu_table_of(scatter_rows_element_variants()),
      gpu_table_of(one_hot_variants()),
      gpu_table_of(pad_variants()),
      gpu_table_of(slice_variants()),
      gpu_table_of(concat_variants()),
      gpu_table_of(transpose_variants()),
      gpu_table_of(upsample_nearest_variants()),
      gpu_table_of(upsample_bilinear_variants()),
      gpu_table_of(upsample_nearest_gradient_variants()),
      gpu_table_of(upsample_bilinear_gradient_variants()),
      gpu_table_of(max_pool2d_variants()),
      gpu_table_of(max_pool2d_scatter_variants()),
      gpu_table_of(max_pool2d_gather_variants()),
      gpu_table_of(avg_pool2d_variants()),
      gpu_table_of(avg_pool2d_gradient_variants()),
      gpu_table_of(dropout_variants()),
      gpu_table_of(relu_dropout_variants()),
      gpu_table_of(increment_variants()),
  };
  return tables;
}

}  // namespace tapescope::TAPESCOPE_GPU
