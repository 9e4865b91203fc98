// The CPU tables of all families, and the listing of every device's.
#include "kernels/families.h"

#include "engine/cuda_library.h"
#include "kernels/common/variant.h"
#include "kernels/cuda/library_variants.h"

namespace tapescope {

// cpu::NAME_variants() are a family's rows; NAME_variants() knows their family as well.
#define TAPESCOPE_ON_CPU(name, Shape) \
  namespace cpu {                     \
  Rows<Shape> name##_variants();      \
  }                                   \
  Variants<Shape> name##_variants() { return {#name, cpu::name##_variants()}; }
#define TAPESCOPE_NOTHING(name, Shape)
TAPESCOPE_FAMILIES(TAPESCOPE_ON_CPU, TAPESCOPE_NOTHING, TAPESCOPE_ON_CPU)

namespace {

template <class Shape>
void append(std::vector<VariantInfo>& all, DeviceKind device, const Variants<Shape>& variants,
            std::string_view why_not = {}) {
  for (const Variant<Shape>& v : variants) {
    all.push_back({variants.family, device, v.name, v.dtypes, v.error_factor, v.note,
                   why_not.empty() ? v.reason : why_not, v.compiled});
  }
}

// The CUDA library's tables where this build has it, with or without a device to run them.
GpuTables cuda_library_tables() {
  GpuTables tables;
  if (void* symbol = cuda_library_symbol("tapescope_cuda_tables")) {
    reinterpret_cast<void (*)(GpuTables*)>(symbol)(&tables);
  }
  return tables;
}

// Where there is no CUDA its variants are listed all the same, with the reason.
template <class Shape>
void append_gpus(std::vector<VariantInfo>& all, std::string_view family) {
  const auto emulated = gpu_variants<Shape>(DeviceKind::emulated, family);
  append(all, DeviceKind::emulated, emulated);
  static const std::string why = why_unavailable(DeviceKind::cuda);
  static const GpuTables compiled = cuda_library_tables();
  if (!compiled.empty()) {
    append(all, DeviceKind::cuda, find_variants<Shape>(compiled, family), why);
    return;
  }
  const auto missing = [&](std::span<const Variant<Shape>> rows) {
    for (Variant<Shape> row : rows) {
      row.compiled = false;
      append(all, DeviceKind::cuda, Variants<Shape>{family, {&row, 1}}, why);
    }
  };
  for (const LibraryVariant& library : kLibraryVariants) {
    if (library.family != family) continue;
    const auto row = library_row<Shape>(library);
    missing({&row, 1});
  }
  missing(emulated.rows);
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
  cuda_runtime();  // throws where there is none
  static const GpuTables cuda = cuda_library_tables();
  return cuda;
}

std::vector<VariantInfo> all_variants() {
  std::vector<VariantInfo> all;
#define TAPESCOPE_LIST_GPUS(name, Shape) append_gpus<Shape>(all, #name);
#define TAPESCOPE_LIST_CPU(name, Shape) append(all, DeviceKind::cpu, name##_variants());
#define TAPESCOPE_LIST(name, Shape) \
  TAPESCOPE_LIST_CPU(name, Shape)   \
  TAPESCOPE_LIST_GPUS(name, Shape)
  TAPESCOPE_FAMILIES(TAPESCOPE_LIST, TAPESCOPE_LIST_GPUS, TAPESCOPE_LIST_CPU)
  return all;
}

}  // namespace tapescope
