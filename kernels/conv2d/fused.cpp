#include "kernels/conv2d/fused.h"

#include <memory>
#include <type_traits>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/conv2d/by_tap.h"
#include "kernels/conv2d/depthwise_simd.h"
#include "kernels/conv2d/onednn.h"
#include "kernels/conv2d/reference.h"
#include "kernels/conv2d/simd.h"
#include "kernels/conv2d/winograd.h"

namespace tapescope {

// Wide: what a T is computed in.
template <class Wide, class T>
static void finish_typed(const FusedConv2dShape& f, const T* residual, T* y, std::int64_t begin,
                         std::int64_t end) {
  const auto least = static_cast<Wide>(f.least), most = static_cast<Wide>(f.most);
  for (std::int64_t i = begin; i < end; ++i) {
    auto value = static_cast<Wide>(y[i]);
    if (residual != nullptr) value += static_cast<Wide>(residual[i]);
    if (value < least) value = least;
    if (value > most) value = most;
    y[i] = static_cast<T>(value);
  }
}

void finish(const FusedConv2dShape& f, const void* residual, void* y, std::int64_t begin,
            std::int64_t end) {
  if (f.conv.dtype == DType::f64) {
    return finish_typed<double>(f, static_cast<const double*>(residual), static_cast<double*>(y),
                                begin, end);
  }
  if (f.conv.dtype == DType::bf16) {
    return finish_typed<float>(f, static_cast<const bf16*>(residual), static_cast<bf16*>(y), begin,
                               end);
  }
  const OutputEpilogue then{
      nullptr, residual != nullptr ? static_cast<const float*>(residual) + begin : nullptr,
      static_cast<float>(f.least), static_cast<float>(f.most)};
  TAPESCOPE_ISA_TABLE(winograd_kernels).finish(end - begin, then, static_cast<float*>(y) + begin);
}

namespace {

// A convolution by another variant, then what follows in a pass over its result.
struct Composed {
  FusedConv2dShape f;
  std::shared_ptr<const Plan> conv;

  void pack(const Queue& queue, const void* weights, void* packed) const {
    conv->pack(queue, weights, packed);
  }
  void operator()(const Queue& queue, const Buffers& b) const {
    conv->run(queue, b);
    const std::int64_t count = f.conv.N * f.conv.P() * f.conv.Q() * f.conv.O;
    parallel_ranges(count, 16 * 1024, [&](std::int64_t begin, std::int64_t end) {
      finish(f, f.residual ? b.in[3] : nullptr, b.out[0], begin, end);
    });
  }
};
template <Plan (*prepare)(const Conv2dShape&)>
Plan composed(const FusedConv2dShape& f) {
  const auto conv = std::make_shared<const Plan>(prepare(f.conv));
  return Plan(conv->variant(), conv->workspace_bytes(), Composed{f, conv}, conv->packing());
}
template <bool (*supports)(const Conv2dShape&)>
bool covers(const FusedConv2dShape& f) {
  return supports(f.conv);
}

}  // namespace

namespace cpu {

Rows<FusedConv2dShape> conv2d_fused_variants() {
  static const Variant<FusedConv2dShape> rows[] = {
      {.name = "winograd_small",
       .dtypes = {DType::f32},
       .error_factor = winograd::kSmallErrorFactor,
       .note = "F(2x2, 3x3) where the map is small and the weights are large: they are read faster",
       .prepare = winograd::conv2d_fused_small,
       .supports = winograd::supports_conv2d_small},
      {.name = "winograd",
       .dtypes = {DType::f32},
       .error_factor = winograd::kErrorFactor,
       .note = "conv2d's, whose last transform goes on to the end",
       .prepare = winograd::conv2d_fused,
       .supports = covers<winograd::supports_conv2d>},
      {.name = "by_tap",
       .dtypes = {DType::f32},
       .note = "conv2d's for maps of a few pixels, then a pass over the result",
       .prepare = composed<by_tap::conv2d>,
       .supports = covers<by_tap::supports>},
      {.name = "onednn",
       .dtypes = {DType::f32, DType::bf16},
       .note = "conv2d's, each image or band finished while it is in the cache",
       .reason = onednn::missing,
       .prepare = onednn::conv2d_fused,
       .supports = covers<onednn::supports_conv2d>},
      {.name = "depthwise",
       .dtypes = {DType::f32},
       .note = "conv2d's, then a pass over the result",
       .prepare = composed<depthwise::conv2d>,
       .supports = covers<depthwise::supports>},
      {.name = "reference",
       .dtypes = {DType::f32, DType::f64, DType::bf16},
       .note = "conv2d's, then a pass over the result",
       .prepare = composed<reference::conv2d>},
  };
  return rows;
}

}  // namespace cpu

}  // namespace tapescope
