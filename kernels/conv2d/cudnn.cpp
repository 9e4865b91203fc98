// Convolution by cuDNN's graph API: the ladder's yardstick. See kernels/conv2d/conv2d.h.
#include "kernels/conv2d/cudnn.h"

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "kernels/conv2d/add_to_rows.h"
#include "kernels/cuda/cudnn_graph.h"
#include "kernels/cuda/cudnn_library.h"
#include "kernels/common/dynamic_library.h"

namespace tapescope::cudnn {
namespace {

using cuda::Descriptor;
using cuda::Descriptors;
using cuda::GraphPlan;
using cuda::image_tensor;
using cuda::make;

enum : std::int64_t { kX = 'x', kW = 'w', kY = 'y', kBias = 'b', kSum = 's' };

Descriptor& convolution(Descriptors& all, const Conv2dShape& s) {
  const std::array<std::int64_t, 2> stride = {s.stride_h, s.stride_w}, pad = {s.pad_h, s.pad_w},
                                    dilation = {s.dilation_h, s.dilation_w};
  const std::int64_t dims = 2;
  using Extents = std::span<const std::int64_t>;
  return make(all, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)
      .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, dims)
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, Extents(pad))
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, Extents(pad))
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, Extents(dilation))
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, Extents(stride))
      .finalize("convolution");
}

// One of the three operations on x, w and y: `attributes` are its own names for them.
struct Names {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t alpha, beta, description, x, w, y;
};
constexpr Names kForward = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y};
constexpr Names kDataGradient = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY};
constexpr Names kWeightGradient = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY};

// Weights {O, KH, KW, I} lie in memory as an image of O samples. `sum`: a bias will be added, so
// the result goes there and not to y.
Descriptor& operation(Descriptors& all, const Names& names, const Conv2dShape& s,
                      Descriptor* sum = nullptr) {
  const float one = 1, zero = 0;
  Descriptor& y = sum != nullptr ? *sum : image_tensor(all, kY, s.dtype, s.N, s.P(), s.Q(), s.O);
  Descriptor& how = convolution(all, s);
  Descriptor& x = image_tensor(all, kX, s.dtype, s.N, s.H, s.W, s.I);
  const bool sums = names.operation == kWeightGradient.operation;
  Descriptor& w =
      image_tensor(all, kW, sums ? wide(s.dtype) : s.dtype, s.O, s.KH, s.KW, s.I / s.groups);
  return make(all, names.operation)
      .set(names.alpha, CUDNN_TYPE_FLOAT, one)
      .set(names.beta, CUDNN_TYPE_FLOAT, zero)
      .set(names.description, how)
      .set(names.x, x)
      .set(names.w, w)
      .set(names.y, y)
      .finalize("convolution");
}

Descriptor& add_bias(Descriptors& all, const Conv2dShape& s, const Descriptor& sum) {
  Descriptor& add =
      make(all, CUDNN_BACKEND_POINTWISE_DESCRIPTOR)
          .set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, CUDNN_POINTWISE_ADD)
          .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
          .finalize("bias");
  Descriptor& bias = image_tensor(all, kBias, wide(s.dtype), 1, 1, 1, s.O);
  Descriptor& y = image_tensor(all, kY, s.dtype, s.N, s.P(), s.Q(), s.O);
  return make(all, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, add)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, sum)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, bias)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y)
      .finalize("bias");
}

std::unique_ptr<GraphPlan> plan_of(const Names& names, const Conv2dShape& s, bool bias = false) {
  Descriptors all;
  std::vector<cudnnBackendDescriptor_t> operations;
  if (bias) {
    // In the convolution's own pass: the sum before the bias is never in memory, and stays f32.
    Descriptor& sum = image_tensor(all, kSum, DType::f32, s.N, s.P(), s.Q(), s.O, true);
    operations.push_back(operation(all, names, s, &sum).raw());
    operations.push_back(add_bias(all, s, sum).raw());
  } else {
    operations.push_back(operation(all, names, s).raw());
  }
  return GraphPlan::choose(std::move(all), operations, s.dtype);
}

bool empty(const Conv2dShape& s) {
  return s.N == 0 || s.P() == 0 || s.Q() == 0 || s.O == 0 || s.I == 0;
}

// The plan of a shape, made once for the process: to ask for one takes cuDNN's heuristics, and
// fused ones are compiled. Null where cuDNN has no engine.
std::shared_ptr<const GraphPlan> known(const Names& names, const Conv2dShape& s,
                                       bool bias = false) {
  if (empty(s)) return nullptr;
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<const GraphPlan>> plans;
  const std::string key = fmt::format(
      "{} {} {} {} {}x{} {} {} {}x{} {} {} {} {} {} {} {}", static_cast<int>(names.operation),
      static_cast<int>(s.dtype), bias, s.N, s.H, s.W, s.I, s.O, s.KH, s.KW, s.stride_h, s.stride_w,
      s.pad_h, s.pad_w, s.dilation_h, s.dilation_w, s.groups);
  const std::lock_guard<std::mutex> lock(mutex);
  const auto [it, fresh] = plans.try_emplace(key);
  if (fresh) {
    try {
      it->second = plan_of(names, s, bias);
    } catch (const Error&) {  // cuDNN declines some shapes as early as their description
    }
  }
  return it->second;
}

// `ids` say which tensor operand 0, operand 1, (the bias) and the output are.
template <std::size_t count>
Plan ready(std::shared_ptr<const GraphPlan> graph, std::array<std::int64_t, count> ids) {
  const std::size_t workspace = graph->workspace_bytes();
  return Plan("cudnn", workspace,
              [graph = std::move(graph), ids](const Queue& queue, const Buffers& b) {
                std::array<void*, count> memory;
                for (std::size_t i = 0; i + 1 < count; ++i) memory[i] = const_cast<void*>(b.in[i]);
                memory[count - 1] = b.out[0];
                for (const void* pointer : memory) cuda::check_aligned("cudnn", pointer);
                graph->run(queue, ids, memory, b.workspace);
              });
}

}  // namespace

const char* why_missing() { return cuda::cudnn().why_missing.c_str(); }

bool supports_conv2d(const Conv2dShape& s) { return known(kForward, s) != nullptr; }
bool supports_conv2d_data_gradient(const Conv2dShape& s) {
  return known(kDataGradient, s) != nullptr;
}
bool supports_conv2d_weight_gradient(const Conv2dShape& s) {
  return known(kWeightGradient, s) != nullptr;
}

Plan conv2d(const Conv2dShape& s) {
  if (!s.bias) return ready<3>(known(kForward, s), {kX, kW, kY});
  if (auto fused = known(kForward, s, true)) return ready<4>(std::move(fused), {kX, kW, kBias, kY});
  // cuDNN adds a bias in the convolution's own pass on tensor cores only, and f32 does not run
  // there.
  auto graph = known(kForward, s);
  const std::size_t workspace = graph->workspace_bytes();
  return Plan(
      "cudnn, bias apart", workspace,
      [plain = std::make_unique<Plan>(ready<3>(std::move(graph), {kX, kW, kY})),
       rows = s.N * s.P() * s.Q(), O = s.O, dtype = s.dtype](const Queue& queue, const Buffers& b) {
        plain->run(queue, b);
        cuda::add_to_rows(queue, dtype, rows, O, b.in[2], b.out[0]);
      });
}
Plan conv2d_data_gradient(const Conv2dShape& s) {
  return ready<3>(known(kDataGradient, s), {kY, kW, kX});
}
Plan conv2d_weight_gradient(const Conv2dShape& s) {
  return ready<3>(known(kWeightGradient, s), {kX, kY, kW});
}

}  // namespace tapescope::cudnn
