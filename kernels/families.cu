// The GPU tables of all families.
#include "kernels/families.h"

#include "kernels/common/gpu.h"
#include "kernels/common/gpu_tables.h"

namespace tapescope::TAPESCOPE_GPU {

#define TAPESCOPE_DECLARE(name, Shape) Rows<Shape> name##_variants();
#define TAPESCOPE_NOTHING(name, Shape)
TAPESCOPE_FAMILIES(TAPESCOPE_DECLARE, TAPESCOPE_DECLARE, TAPESCOPE_NOTHING)

#define TAPESCOPE_TABLE(name, Shape) gpu_table_of(#name, name##_variants()),
GpuTables gpu_tables() {
  static const GpuTable tables[] = {TAPESCOPE_FAMILIES(TAPESCOPE_TABLE, TAPESCOPE_TABLE, TAPESCOPE_NOTHING)};
  return tables;
}

}  // namespace tapescope::TAPESCOPE_GPU
