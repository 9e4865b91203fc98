// The list of kernel families: the only one. A new family is an include and an entry here; its
// tables are functions NAME_variants() in namespaces cpu (its variants.cpp or reference.cpp) and
// emulated and cuda (its .cu), and one that is missing does not link.
#pragma once

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/fused.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/increment/increment.h"
#include "kernels/layout/layout.h"
#include "kernels/log_softmax/log_softmax.h"
#include "kernels/log_softmax/nll.h"
#include "kernels/matmul/matmul.h"
#include "kernels/more_ops/cast/cast.h"
#include "kernels/more_ops/cast/many.h"
#include "kernels/more_ops/gather/gather.h"
#include "kernels/more_ops/layer_norm/layer_norm.h"
#include "kernels/more_ops/running_statistics/running_statistics.h"
#include "kernels/more_ops/square_sums/square_sums.h"
#include "kernels/more_ops/upsample/upsample.h"
#include "kernels/optimizer/many.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool2d/pool2d.h"
#include "kernels/reduce/reduce.h"

// F(name, Shape): on the CPU and on GPUs; GPU_ONLY, CPU_ONLY: there alone. Listed in this order.
// clang-format off
#define TAPESCOPE_FAMILIES(F, GPU_ONLY, CPU_ONLY) \
  F(conv2d, Conv2dShape) F(conv2d_data_gradient, Conv2dShape) \
  F(conv2d_weight_gradient, Conv2dShape) CPU_ONLY(conv2d_fused, FusedConv2dShape) \
  F(unary, UnaryShape) F(binary, BinaryShape) F(cast, CastShape) \
  GPU_ONLY(cast_many, CastManyShape) \
  F(reduce, ReduceShape) F(broadcast_like, BroadcastShape) \
  F(log_softmax, SoftmaxShape) F(softmax, SoftmaxShape) \
  F(log_softmax_nll, SoftmaxShape) F(log_softmax_nll_gradient, SoftmaxShape) \
  F(log_softmax_gradient, SoftmaxShape) F(softmax_gradient, SoftmaxShape) \
  F(batch_norm_training, BatchNormShape) F(batch_norm_inference, BatchNormShape) \
  F(batch_norm_gradient, BatchNormShape) F(batch_norm_relu_training, BatchNormShape) \
  F(batch_norm_relu_gradient, BatchNormShape) F(running_statistics, RunningStatisticsShape) \
  F(layer_norm, LayerNormShape) F(layer_norm_gradient, LayerNormShape) \
  F(dropout, DropoutShape) F(relu_dropout, DropoutShape) \
  F(pad, PadShape) F(slice, SliceShape) F(concat, ConcatShape) F(transpose, TransposeShape) \
  F(upsample_nearest, UpsampleShape) F(upsample_bilinear, UpsampleShape) \
  F(upsample_nearest_gradient, UpsampleShape) F(upsample_bilinear_gradient, UpsampleShape) \
  F(gather_rows_element, GatherShape) F(scatter_rows_element, GatherShape) \
  F(sgd, SgdShape) F(adamw, AdamwShape) \
  GPU_ONLY(sgd_many, SgdManyShape) GPU_ONLY(adamw_many, AdamwManyShape) \
  GPU_ONLY(square_sums, SquareSumsShape) F(sum_in_order, SumInOrderShape) GPU_ONLY(halt, HaltShape) \
  F(matmul, MatmulShape) \
  F(max_pool2d, Pool2dShape) F(max_pool2d_scatter, Pool2dShape) \
  F(max_pool2d_gather, Pool2dShape) F(avg_pool2d, Pool2dShape) \
  F(avg_pool2d_gradient, Pool2dShape) \
  F(increment, IncrementShape)
// clang-format on
