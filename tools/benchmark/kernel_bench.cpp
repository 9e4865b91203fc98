#include "tools/benchmark/kernel_bench.h"

#include <algorithm>
#include <fstream>
#include <set>

#include "engine/isa.h"
#include "engine/thread_pool.h"
#include "kernels/cases/cases.h"

namespace tapescope::benchmark {
namespace {

using kernel_cases::Case;
using kernel_cases::CaseVariant;
using kernel_cases::Family;

// Textbook loops beside which nothing else would get its turn, unless the shape was asked for.
constexpr double kMostFlopsOfLoops = 2e8;
// The emulator's times mean nothing: it is there for the last column.
constexpr double kRoundSeconds[] = {0.05, 0.002};

std::vector<std::string_view> shapes_of(const Family& family, DeviceKind device) {
  if (device == DeviceKind::emulated) return family.small;
  return device == DeviceKind::cuda ? family.large : family.shapes;
}

void bench_case(const KernelBenchRequest& request, const Case& c, bool asked_for,
                KernelBench& bench) {
  kernel_cases::Memory memory(c, request.device, kernel_cases::copies_in_turn(c, request.device));
  const double most = asked_for ? 1e12 : kMostFlopsOfLoops;
  const std::vector<Tensor> want = kernel_cases::reference_results(c, most);
  std::vector<Plan> plans;
  std::vector<std::optional<double>> errors;
  std::vector<std::string_view> names;
  for (const CaseVariant& variant : c.variants(request.device.kind)) {
    if (is_textbook(variant.name) && c.flops > most) continue;
    plans.push_back(variant.prepare());
    names.push_back(variant.name);
    memory.clear_results();
    memory.run(plans.back());
    std::optional<double> error;
    if (!want.empty()) error = kernel_cases::relative_error(memory.result(), want[0]);
    errors.push_back(error);
  }
  std::vector<std::function<void()>> calls;
  for (const Plan& plan : plans) calls.push_back([&] { memory.run_in_turn(plan); });
  const std::vector<double> seconds = kernel_cases::seconds_in_turns(
      memory.runtime(), calls, kRoundSeconds[request.device.kind == DeviceKind::emulated]);
  for (std::size_t i = 0; i < names.size(); ++i) {
    bench.rows.push_back({c.family, c.shape, std::string(names[i]), seconds[i], c.bytes(), c.flops,
                          bench.roof.share(seconds[i], c.bytes(), c.flops), errors[i]});
  }
}

// The fastest processor's clock, as the kernel tells it.
std::optional<double> clock_of_cpu() {
  std::ifstream file("/proc/cpuinfo");
  std::optional<double> mhz;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("cpu MHz")) continue;
    mhz = std::max(mhz.value_or(0), std::strtod(line.c_str() + line.find(':') + 1, nullptr));
  }
  return mhz;
}

}  // namespace

KernelBench bench_kernels(const KernelBenchRequest& request,
                          const std::function<void(const std::string&)>& tell) {
  std::vector<const Family*> families;
  for (const std::string& name : request.families) {
    if (name != "all") {
      families.push_back(&kernel_cases::family_named(name));
      continue;
    }
    for (const Family& family : kernel_cases::families()) families.push_back(&family);
  }
  if (!request.shapes.empty() && families.size() != 1) {
    throw usage_error("--shape is written in the form of one family: name one with --bench");
  }
  std::vector<Case> cases;  // before anything is measured: shapes may be wrong
  for (const Family* family : families) {
    std::vector<std::string_view> shapes(request.shapes.begin(), request.shapes.end());
    if (shapes.empty()) shapes = shapes_of(*family, request.device.kind);
    for (const std::string_view shape : shapes) cases.push_back(family->make(shape, request.dtype));
  }
  DeviceRuntime& runtime = DeviceRuntime::of(request.device);
  KernelBench bench;
  bench.device = name_of(request.device.kind);
  bench.isa =
      request.device.kind == DeviceKind::cpu ? std::string(name_of(isa())) : runtime.description();
  bench.dtype = name_of(request.dtype);
  bench.threads = thread_count();
  bench.roof = kernel_cases::measure_roof(request.device, request.dtype);
  for (const Case& c : cases) {
    if (tell) tell(c.family + " " + c.shape);
    bench_case(request, c, !request.shapes.empty(), bench);
  }
  if (request.device.kind != DeviceKind::cuda) bench.clock_mhz = clock_of_cpu();
  if (bench.rows.empty()) {
    throw usage_error("no variant covers {} on {}; see `tapescope kernels`", bench.dtype,
                      bench.device);
  }
  return bench;
}

}  // namespace tapescope::benchmark
