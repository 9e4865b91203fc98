#include "kernels/cases/timer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "kernels/cases/cases.h"

namespace tapescope::kernel_cases {

std::vector<double> seconds_in_turns(DeviceRuntime& runtime,
                                     std::span<const std::function<void()>> calls,
                                     double round_seconds, int rounds) {
  const Queue queue = runtime.compute_queue();
  const auto timed = [&](const std::function<void()>& call, int times) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < times; ++i) call();
    runtime.wait(queue);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / times;
  };
  std::vector<double> best;
  std::vector<int> times;
  for (const auto& call : calls) {
    double once = timed(call, 1);
    if (once < 1) once = std::min(once, timed(call, 1));  // the first one warms up
    best.push_back(once);
    times.push_back(std::clamp(static_cast<int>(round_seconds / std::max(once, 1e-7)), 1, 10000));
  }
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t k = 0; k < calls.size(); ++k) {
      if (best[k] < 1) best[k] = std::min(best[k], timed(calls[k], times[k]));
    }
  }
  return best;
}

double Roof::share(double seconds, double bytes, double flops) const {
  return std::max(bytes / bytes_per_second, flops / flops_per_second) / seconds;
}

Roof measure_roof(Device device, DType dtype) {
  const bool small = device.kind == DeviceKind::emulated, large = device.kind == DeviceKind::cuda;
  const auto fastest = [&](std::string_view family, std::string_view shape) {
    const Case c = family_named(family).make(shape, dtype);
    Memory memory(c, device);
    std::vector<Plan> plans;
    std::vector<std::function<void()>> calls;
    for (const CaseVariant& variant : c.variants(device.kind)) {
      if (!is_textbook(variant.name)) plans.push_back(variant.prepare());
    }
    for (const Plan& plan : plans) calls.push_back([&] { memory.run(plan); });
    const std::vector<double> seconds =
        seconds_in_turns(memory.runtime(), calls, small ? 0.002 : 0.05, 3);
    const double best = *std::min_element(seconds.begin(), seconds.end());
    return std::pair(c.bytes() / best, c.flops / best);
  };
  return {fastest("unary", small   ? "identity:65536"
                           : large ? "identity:134217728"
                                   : "identity:16777216")
              .first,
          fastest("matmul", small   ? "nn:64x64x64"
                            : large ? "nn:4096x4096x4096"
                                    : "nn:512x512x512")
              .second};
}

}  // namespace tapescope::kernel_cases
