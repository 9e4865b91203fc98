#include "tools/training/estimate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "engine/thread_pool.h"

namespace tapescope {

namespace {

// The shortest of a few runs.
template <class F>
double shortest(F&& f) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  for (int i = 0; i < 7; ++i) {
    const auto begin = Clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return best;
}

}  // namespace

double measured_flops_per_second() {
  constexpr std::int64_t kSide = 512;
  Tape tape(Device::cpu(), Mode::evaluation);
  const Var a = tape.constant(Tensor::full({DType::f32, {kSide, kSide}}, 0.5));
  return 2.0 * kSide * kSide * kSide / shortest([&] { matmul(a, a); });
}

double measured_bytes_per_second() {
  constexpr std::int64_t kChunk = 1 << 20, kChunks = 96;
  const Tensor from = Tensor::full({DType::u8, {kChunks, kChunk}}, 1);
  Tensor to = Tensor::full({DType::u8, {kChunks, kChunk}}, 0);
  const double copy = shortest([&] {
    parallel_for(kChunks, [&](std::int64_t i) {
      std::memcpy(static_cast<char*>(to.data()) + i * kChunk,
                  static_cast<const char*>(from.data()) + i * kChunk, kChunk);
    });
  });
  return 2.0 * kChunks * kChunk / copy;
}

std::string duration_text(double seconds) {
  const auto s = static_cast<std::int64_t>(std::llround(seconds));
  if (s < 100) return fmt::format("{} s", s);
  if (s < 6000) return fmt::format("{} min {} s", s / 60, s % 60);
  if (s < 48 * 3600) return fmt::format("{} h {} min", s / 3600, s / 60 % 60);
  return fmt::format("{} days", s / 86400);
}

}  // namespace tapescope
