// The CUDA library's tables: the rungs of kernels/families.cu, with cuBLAS and cuDNN in front of
// them where this build and this machine have them.
#pragma once

#include <vector>

#include "kernels/common/gpu_tables.h"
#include "kernels/common/variant.h"

namespace tapescope::cuda {

GpuTables gpu_tables();  // kernels/families.cu, compiled by nvcc

// One family with its rungs and, in front, a variant of a library.
template <class Shape>
class WithLibrary {
 public:
  explicit WithLibrary(const Variant<Shape>& library) {
    variants_.push_back(library);
    for (const GpuTable& table : gpu_tables()) {
      if (table.family != library.family) continue;
      const auto* rungs = static_cast<const Variant<Shape>*>(table.variants);
      variants_.insert(variants_.end(), rungs, rungs + table.count);
    }
  }
  GpuTable table() const { return gpu_table_of(std::span<const Variant<Shape>>(variants_)); }

 private:
  std::vector<Variant<Shape>> variants_;
};

// What cublas.cpp and cudnn.cpp bring: one table a family, or nothing where the part is off.
std::vector<GpuTable> cublas_tables();
std::vector<GpuTable> cudnn_tables();

// All of it.
GpuTables all_gpu_tables();

}  // namespace tapescope::cuda
