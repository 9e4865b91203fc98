// Every variant of kernel families, timed in turns: what `tapescope kernels --bench` does.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/type.h"
#include "kernels/cases/timer.h"

namespace tapescope::benchmark {

struct KernelBenchRequest {
  std::vector<std::string> families;  // names, or "all"
  std::vector<std::string> shapes;    // in the form of the one family; empty: the table's
  Device device;
  DType dtype = DType::f32;
};

struct KernelTime {
  std::string family, shape, variant;
  double seconds = 0, bytes = 0, flops = 0;
  double roof_share = 0;
  std::optional<double> error;  // against the reference, relative to its largest value
};
struct KernelBench {
  std::string device, isa;  // "cpu"; "avx512", of GPUs what the device says of itself
  std::string dtype;
  int threads = 0;
  std::optional<double> clock_mhz;  // while it ran, where it can be read
  kernel_cases::Roof roof;
  std::vector<KernelTime> rows;
};

// `tell`, where given, hears of each shape before it is measured. Throws usage errors.
KernelBench bench_kernels(const KernelBenchRequest& request,
                          const std::function<void(const std::string&)>& tell = {});

std::string to_json(const KernelBench& bench);
std::string to_text(const KernelBench& bench);  // at most 80 columns

// The same rows of a file that to_json wrote, by their times: text, and whether one takes more than
// `threshold` times as long now. Throws a usage error where the file is none, or shares no row.
struct Comparison {
  std::string text;
  bool slower = false;
};
Comparison compare(const KernelBench& bench, const std::string& file, double threshold);

}  // namespace tapescope::benchmark
