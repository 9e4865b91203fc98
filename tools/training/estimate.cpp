#include "tools/training/estimate.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"

namespace tapescope {

double measured_flops_per_second() {
  constexpr std::int64_t kImages = 4, kSide = 32, kChannels = 64;
  const double flops = 2.0 * kImages * kSide * kSide * kChannels * kChannels * 9;
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var x =
      tape.input("x", Tensor::full({DType::f32, {kImages, kSide, kSide, kChannels}}, 0.5));
  const Var w = tape.input("w", Tensor::full({DType::f32, {kChannels, 3, 3, kChannels}}, 0.01));
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    conv2d(x, w, {}, {.pad_h = 1, .pad_w = 1});
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    best = std::min(best, spent.count());
  }
  return flops / best;
}

std::string duration_text(double seconds) {
  const auto s = static_cast<std::int64_t>(std::llround(seconds));
  if (s < 100) return fmt::format("{} s", s);
  if (s < 6000) return fmt::format("{} min {} s", s / 60, s % 60);
  if (s < 48 * 3600) return fmt::format("{} h {} min", s / 3600, s / 60 % 60);
  return fmt::format("{} days", s / 86400);
}

}  // namespace tapescope
