#include <optional>

#include "bench/device/device_bench.h"
#include "kernels/cases/cases.h"
#include "kernels/cases/timer.h"

namespace tapescope {
namespace {

using kernel_cases::Case;
using kernel_cases::CaseVariant;

bool is_library(std::string_view variant) { return variant == "cudnn" || variant == "cublas"; }

// The library that a family is measured by.
std::string_view yardstick_of(const std::string& family) {
  if (family == "matmul") return "cublas";
  return family.starts_with("conv2d") ? "cudnn" : "";
}

// Why a library's variant has no time at this shape.
std::string why_not(const Case& c, Device device, std::string_view library) {
  for (const VariantInfo& info : all_variants()) {
    if (info.family == c.family && info.device == device.kind && info.name == library) {
      return std::string(info.reason.empty() ? "it does not cover this shape" : info.reason);
    }
  }
  return fmt::format("no variant of that name for {}", name_of(device.kind));
}

struct Timed {
  std::string_view name;
  Plan plan;
  double seconds = 0;
};

class KernelTimes {
 public:
  explicit KernelTimes(DeviceBench& bench)
      : bench_(bench), runtime_(DeviceRuntime::of(bench.device)) {
    const std::int64_t bytes = bench.small ? 1 << 16 : 1 << 28;
    Tensor from({DType::u8, {bytes}}, bench.device), to({DType::u8, {bytes}}, bench.device);
    const std::function<void()> copy[] = {[&] {
      runtime_.copy(to.data(), from.data(), static_cast<std::size_t>(bytes),
                    runtime_.compute_queue());
    }};
    copied_bytes_per_second_ = 2.0 * static_cast<double>(bytes) / seconds_of(copy)[0];
  }

  void time(const Case& c) {
    kernel_cases::Memory memory(c, bench_.device, kernel_cases::copies_in_turn(c, bench_.device));
    std::vector<Timed> timed = prepared(c, memory);
    if (timed.empty() && !bench_.failed) {
      throw usage_error("no variant of {} on {} covers {} in {}", c.family,
                        name_of(bench_.device.kind), c.shape, name_of(c.dtype));
    }
    std::vector<std::function<void()>> calls;
    for (const Timed& t : timed) calls.push_back([&] { memory.run_in_turn(t.plan); });
    const std::vector<double> seconds = seconds_of(calls);
    std::optional<double> library;
    for (std::size_t i = 0; i < timed.size(); ++i) {
      timed[i].seconds = seconds[i];
      if (is_library(timed[i].name)) library = seconds[i];
    }
    for (const Timed& t : timed) tell(c, t, library);
    const std::string_view yardstick = yardstick_of(c.family);
    if (!yardstick.empty() && !library && !bench_.own) {
      bench_.row(label(c, yardstick), "missing",
                 {{"detail", why_not(c, bench_.device, yardstick)}});
    }
  }

 private:
  std::string label(const Case& c, std::string_view variant) const {
    return fmt::format("{} {} {} {}", c.family, c.shape, name_of(c.dtype), variant);
  }

  // Each run once, so that what fails is known before anything is timed.
  std::vector<Timed> prepared(const Case& c, kernel_cases::Memory& memory) {
    std::vector<Timed> timed;
    bool have_own = false;
    for (const CaseVariant& variant : c.variants(bench_.device.kind)) {
      const bool library = is_library(variant.name);
      if (library ? bench_.own : bench_.best && have_own) continue;
      if (variant.name == "naive" && c.flops > 5e10) continue;  // seconds, and nothing to learn
      have_own |= !library;
      try {
        Timed t{variant.name, variant.prepare()};
        memory.run(t.plan);
        runtime_.wait(runtime_.compute_queue());
        timed.push_back(std::move(t));
      } catch (const Error& error) {
        bench_.row(label(c, variant.name), "failed", {{"detail", error.what()}});
      }
    }
    return timed;
  }

  void tell(const Case& c, const Timed& t, std::optional<double> library) {
    nlohmann::ordered_json figures = {
        {"ms", t.seconds * 1e3},
        {"GB/s", c.bytes() / t.seconds / 1e9},
        {"TFLOP/s", c.flops / t.seconds / 1e12},
        {"% of copy", 100 * c.bytes() / t.seconds / copied_bytes_per_second_}};
    if (library && !is_library(t.name)) {
      figures["% of " + std::string(yardstick_of(c.family))] = 100 * *library / t.seconds;
    }
    bench_.row(label(c, t.name), "measured", figures);
  }

  std::vector<double> seconds_of(std::span<const std::function<void()>> calls) {
    return kernel_cases::seconds_in_turns(runtime_, calls, bench_.small ? 1e-4 : 0.02, 3);
  }

  DeviceBench& bench_;
  DeviceRuntime& runtime_;
  double copied_bytes_per_second_ = 1;
};

}  // namespace

void time_kernels(DeviceBench& bench, const std::string& name) {
  const kernel_cases::Family& family = kernel_cases::family_named(name);
  KernelTimes times(bench);
  for (const std::string_view shape : bench.small ? family.small : family.large) {
    times.time(family.make(shape, bench.dtype));
  }
}

}  // namespace tapescope
