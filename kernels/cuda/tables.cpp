#include "kernels/cuda/tables.h"

namespace tapescope::cuda {

GpuTables all_gpu_tables() {
  static const std::vector<GpuTable> tables = [] {
    std::vector<GpuTable> all = cublas_tables();
    for (const GpuTable& table : cudnn_tables()) all.push_back(table);
    for (const GpuTable& rungs : gpu_tables()) {
      bool listed = false;
      for (const GpuTable& table : all) listed = listed || table.family == rungs.family;
      if (!listed) all.push_back(rungs);
    }
    return all;
  }();
  return tables;
}

}  // namespace tapescope::cuda
