// The list of kernel families. A new family is one line here.
#include "engine/cuda_library.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/cast/cast.h"
#include "kernels/common/variant.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/cuda/library_variants.h"
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

namespace tapescope {
namespace {

// One family: its table for the CPU (if it has one), then those of the other devices. Where there
// is no CUDA the rungs are listed all the same, with the reason.
template <class Shape>
void append(std::vector<VariantInfo>& all, std::span<const Variant<Shape>> cpu,
            std::string_view family = {}) {
  if (family.empty()) family = cpu.front().family;
  all.insert(all.end(), cpu.begin(), cpu.end());
  const auto emulated = gpu_variants<Shape>(DeviceKind::emulated, family);
  all.insert(all.end(), emulated.begin(), emulated.end());
  static const std::string why = why_unavailable(DeviceKind::cuda);
  if (why.empty()) {
    const auto cuda = gpu_variants<Shape>(DeviceKind::cuda, family);
    all.insert(all.end(), cuda.begin(), cuda.end());
    return;
  }
  for (VariantInfo info : kLibraryVariants) {
    info.reason = why;
    if (info.family == family) all.push_back(info);
  }
  for (VariantInfo info : emulated) {
    info.device = DeviceKind::cuda;
    info.reason = why;
    all.push_back(info);
  }
}

}  // namespace

void throw_no_variant(std::string_view family, std::string_view wanted, std::string_view reason,
                      DType dtype, DeviceKind device) {
  if (!reason.empty()) {
    throw usage_error("[{}] variant '{}' cannot be used: {}", family, wanted, reason);
  }
  throw usage_error(
      "[{}] no {}variant covers dtype {} and this shape on {}; see `tapescope kernels`", family,
      wanted.empty() ? "" : fmt::format("'{}' ", wanted), name_of(dtype), name_of(device));
}

GpuTables gpu_tables(DeviceKind device) {
  if (device == DeviceKind::emulated) return emulated::gpu_tables();
  if (device == DeviceKind::cpu) return {};
  static const GpuTables cuda = [] {
    GpuTables tables;
    reinterpret_cast<void (*)(GpuTables*)>(cuda_symbol("tapescope_cuda_tables"))(&tables);
    return tables;
  }();
  return cuda;
}

std::vector<VariantInfo> all_variants() {
  std::vector<VariantInfo> all;
  append(all, conv2d_variants());
  append(all, conv2d_data_gradient_variants());
  append(all, conv2d_weight_gradient_variants());
  append(all, unary_variants());
  append(all, binary_variants());
  append(all, cast_variants());
  append(all, reduce_variants());
  append(all, broadcast_like_variants());
  append(all, log_softmax_variants());
  append(all, softmax_variants());
  append(all, log_softmax_nll_variants());
  append(all, log_softmax_nll_gradient_variants());
  append(all, log_softmax_gradient_variants());
  append(all, softmax_gradient_variants());
  append(all, batch_norm_training_variants());
  append(all, batch_norm_inference_variants());
  append(all, batch_norm_gradient_variants());
  append(all, dropout_variants());
  append(all, relu_dropout_variants());
  append(all, pad_variants());
  append(all, slice_variants());
  append(all, concat_variants());
  append(all, transpose_variants());
  append(all, upsample_nearest_variants());
  append(all, upsample_bilinear_variants());
  append(all, upsample_nearest_gradient_variants());
  append(all, upsample_bilinear_gradient_variants());
  append(all, gather_rows_element_variants());
  append(all, scatter_rows_element_variants());
  append(all, one_hot_variants());
  append(all, sgd_variants());
  append(all, adamw_variants());
  append<SgdManyShape>(all, {}, "sgd_many");
  append<AdamwManyShape>(all, {}, "adamw_many");
  append(all, matmul_variants());
  append(all, max_pool2d_variants());
  append(all, max_pool2d_scatter_variants());
  append(all, max_pool2d_gather_variants());
  append(all, avg_pool2d_variants());
  append(all, avg_pool2d_gradient_variants());
  append(all, increment_variants());
  return all;
}

}  // namespace tapescope
