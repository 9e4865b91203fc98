// The one table of ops: name, how it is recorded, and how it is worked out where all its operands
// are known.
#include "tools/onnx/ops.h"

namespace tapescope::onnx {
namespace {

constexpr OpFunction kOps[] = {
    {"Abs", record_function, fold_elementwise},
    {"Add", record_binary_op, fold_elementwise},
    {"And", record_binary_op, fold_elementwise},
    {"ArgMax", record_arg_max},
    {"ArgMin", record_arg_max},
    {"AveragePool", record_pool},
    {"BatchNormalization", record_batch_normalisation},
    {"Cast", record_cast, fold_cast},
    {"CastLike", record_cast, fold_cast},
    {"Ceil", nullptr, fold_elementwise},
    {"Celu", record_activation},
    {"Clip", record_clip},
    {"Concat", record_concat, fold_concat},
    {"Constant", nullptr, fold_constant},
    {"ConstantOfShape", nullptr, fold_constant_of_shape},
    {"Conv", record_conv},
    {"ConvTranspose", record_conv_transpose},
    {"DepthToSpace", record_depth_to_space},
    {"Div", record_binary_op, fold_elementwise},
    {"Dropout", record_dropout},
    {"Elu", record_activation},
    {"Equal", record_binary_op, fold_elementwise},
    {"Erf", record_function},
    {"Exp", record_function, fold_elementwise},
    {"Expand", record_expand, fold_expand},
    {"Flatten", record_flatten, fold_reshape},
    {"Floor", nullptr, fold_elementwise},
    {"Gather", record_gather, fold_gather},
    {"Gelu", record_activation},
    {"Gemm", record_gemm},
    {"GlobalAveragePool", record_global_pool},
    {"Gate", record_binary_op},
    {"GlobalMaxPool", record_global_pool},
    {"Greater", record_binary_op, fold_elementwise},
    {"GreaterOrEqual", record_binary_op, fold_elementwise},
    {"GroupNormalization", record_channel_normalisation},
    {"HardSigmoid", record_activation},
    {"HardSwish", record_function},
    {"Identity", record_identity, record_identity},
    {"InstanceNormalization", record_channel_normalisation},
    {"LRN", record_lrn},
    {"LayerNormalization", record_layer_normalisation},
    {"LeakyRelu", record_activation},
    {"Less", record_binary_op, fold_elementwise},
    {"LessOrEqual", record_binary_op, fold_elementwise},
    {"Log", record_function, fold_elementwise},
    {"LogSoftmax", record_softmax},
    {"LpNormalization", record_lp_normalisation},
    {"MatMul", record_matmul},
    {"Max", record_many_op, fold_elementwise},
    {"MaxPool", record_pool},
    {"Mean", record_many_op},
    {"MeanVarianceNormalization", record_mean_variance_normalisation},
    {"Min", record_many_op, fold_elementwise},
    {"Mish", record_function},
    {"Mod", nullptr, fold_elementwise},
    {"Mul", record_binary_op, fold_elementwise},
    {"Neg", record_function, fold_elementwise},
    {"Not", record_function, fold_elementwise},
    {"Or", record_binary_op, fold_elementwise},
    {"PRelu", record_prelu},
    {"Pad", record_pad},
    {"Pow", record_binary_op, fold_elementwise},
    {"RMSNormalization", record_layer_normalisation},
    {"Range", nullptr, fold_range},
    {"Reciprocal", record_function, fold_elementwise},
    {"ReduceL1", record_reduce},
    {"ReduceL2", record_reduce},
    {"ReduceLogSum", record_reduce},
    {"ReduceLogSumExp", record_reduce},
    {"ReduceMax", record_reduce, fold_reduce},
    {"ReduceMean", record_reduce},
    {"ReduceMin", record_reduce, fold_reduce},
    {"ReduceProd", record_reduce, fold_reduce},
    {"ReduceSum", record_reduce, fold_reduce},
    {"ReduceSumSquare", record_reduce},
    {"Relu", record_function, fold_elementwise},
    {"Reshape", record_reshape, fold_reshape},
    {"Resize", record_resize},
    {"Round", nullptr, fold_elementwise},
    {"Selu", record_activation},
    {"Shape", record_shape, record_shape},
    {"Sigmoid", record_function},
    {"Sign", record_function, fold_elementwise},
    {"Size", record_shape, record_shape},
    {"Slice", record_slice, fold_slice},
    {"Softmax", record_softmax},
    {"Softplus", record_function},
    {"Softsign", record_function},
    {"SpaceToDepth", record_space_to_depth},
    {"Split", record_split, fold_split},
    {"Sqrt", record_function, fold_elementwise},
    {"Squeeze", record_squeeze, fold_reshape},
    {"Sub", record_binary_op, fold_elementwise},
    {"Sum", record_many_op, fold_elementwise},
    {"Swish", record_activation},
    {"Tanh", record_function},
    {"ThresholdedRelu", record_activation},
    {"Tile", record_tile, fold_expand},
    {"Transpose", record_transpose, fold_transpose},
    {"Unsqueeze", record_unsqueeze, fold_reshape},
    {"Upsample", record_resize},
    {"Where", record_where, fold_where},
    {"Xor", record_binary_op, fold_elementwise},
};

constexpr std::string_view kControl =
    "control flow is not read; export the model without it, or cut the graph before it with "
    "--outputs and the name of a value";
constexpr std::string_view kWholeNumbers =
    "it computes in whole numbers (int8); export the model in float32, before it is quantised";
constexpr std::string_view kRecurrent = "recurrent nets are not read";
constexpr std::string_view kBoxes =
    "the choice among boxes is no part of a net here; export without it (nms=False), or cut the "
    "graph before it with --outputs and the name of a value";

struct Refusal {
  std::string_view op, why;
};
constexpr Refusal kRefused[] = {
    {"If", kControl},
    {"Loop", kControl},
    {"Scan", kControl},
    {"SequenceMap", kControl},
    {"QLinearConv", kWholeNumbers},
    {"QLinearMatMul", kWholeNumbers},
    {"QuantizeLinear", kWholeNumbers},
    {"DequantizeLinear", kWholeNumbers},
    {"DynamicQuantizeLinear", kWholeNumbers},
    {"ConvInteger", kWholeNumbers},
    {"MatMulInteger", kWholeNumbers},
    {"LSTM", kRecurrent},
    {"GRU", kRecurrent},
    {"RNN", kRecurrent},
    {"NonMaxSuppression", kBoxes},
    {"TopK", kBoxes},
    {"NonZero", kBoxes},
    {"RoiAlign", kBoxes},
};

}  // namespace

std::span<const OpFunction> op_functions() { return kOps; }

std::string_view refusal_of(std::string_view op) {
  for (const Refusal& refusal : kRefused) {
    if (refusal.op == op) return refusal.why;
  }
  return "";
}

}  // namespace tapescope::onnx
