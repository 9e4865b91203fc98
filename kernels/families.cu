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
#include "kernels/matmul/matmul.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool2d/pool2d.h"
#include "kernels/reduce/reduce.h"

namespace tapescope::TAPESCOPE_GPU {

std::span<const Variant<DropoutShape>> dropout_variants();
std::span<const Variant<IncrementShape>> increment_variants();

GpuTables gpu_tables() {
  static const GpuTable tables[] = {
      gpu_table_of(dropout_variants()),
      gpu_table_of(increment_variants()),
  };
  return tables;
}

}  // namespace tapescope::TAPESCOPE_GPU
