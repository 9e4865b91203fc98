// The CUDA library's tables: the rungs of kernels/families.cu, with cuBLAS and cuDNN in front of
// them where this build and this machine have them.
#pragma once

#include <vector>

#include "kernels/common/gpu_tables.h"
#include "kernels/common/variant.h"
#include "kernels/cuda/library_variants.h"

namespace tapescope::cuda {

GpuTables gpu_tables();  // kernels/families.cu, compiled by nvcc

// One family with its rungs and, in front, a variant of a library: `why_missing` says why it is not
// there, and then `prepare` and `supports` may be null.
template <class Shape>
class WithLibrary {
 public:
  WithLibrary(const LibraryVariant& library, std::string_view why_missing,
              Plan (*prepare)(const Shape&) = nullptr, bool (*supports)(const Shape&) = nullptr)
      : family_(library.family), rows_{library_row<Shape>(library)} {
    rows_[0].reason = why_missing;
    rows_[0].compiled = prepare != nullptr;
    rows_[0].prepare = prepare;
    rows_[0].supports = supports;
    const Variants<Shape> rungs = find_variants<Shape>(gpu_tables(), family_);
    rows_.insert(rows_.end(), rungs.begin(), rungs.end());
  }
  GpuTable table() const { return gpu_table_of(family_, Rows<Shape>(rows_)); }

 private:
  std::string_view family_;
  std::vector<Variant<Shape>> rows_;
};

// What matmul's cublas_tables.cpp and conv2d's cudnn_tables.cpp bring: one table per family; or,
// where this build has no such library, their *_off.cpp, which say so.
std::vector<GpuTable> cublas_tables();
std::vector<GpuTable> cudnn_tables();

// All of it.
GpuTables all_gpu_tables();

}  // namespace tapescope::cuda
