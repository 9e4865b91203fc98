#include "bench/device/device_bench.h"
#include "engine/error.h"
#include "kernels/collectives/nccl_ranks.h"
#include "tests/kernels/nccl_on_gpu.h"

namespace tapescope {

void check_nccl(DeviceBench& bench, const std::string& sums) {
  if (sums != "gathered" && sums != "fast") {
    throw usage_error("sums by NCCL are 'gathered' or 'fast', not '{}'", sums);
  }
  if (const std::string why = why_no_nccl(); !why.empty()) {
    bench.row(sums, "missing", {{"detail", why}});
    return;
  }
  try {
    check_nccl_on_gpu(sums == "fast");
    bench.row(sums, "passed");
  } catch (const Error& error) {
    bench.row(sums, "failed", {{"detail", error.what()}});
  }
}

}  // namespace tapescope
