// Division by a number that the host knows: a multiplication, where a GPU has no instruction to
// divide integers and spends a hundred on it.
#pragma once

#include "kernels/common/gpu.h"

namespace tapescope::TAPESCOPE_GPU {

// For n below 2^31 n / by = (n * magic / 2^32 + n) / 2^shift, rounded down (Granlund and Montgomery
// 1994, figure 4.1), with 2^shift the first power not below `by`. Larger numbers are divided.
class Divisor {
 public:
  Divisor() = default;
  explicit Divisor(std::int64_t by) : by_(by < 1 ? 1 : by) {
    while ((std::int64_t{1} << shift_) < by_) ++shift_;
    if (shift_ > 31) return;  // n < 2^31 < by
    const auto power = std::uint64_t{1} << shift_, d = static_cast<std::uint64_t>(by_);
    magic_ = static_cast<std::uint32_t>(((power - d) << 32) / d + 1);
  }

  struct Result {
    std::int64_t quotient, rest;
  };
  // 0 <= n
  __device__ Result operator()(std::int64_t n) const {
    if (n > 0x7fffffff || by_ > 0x7fffffff) return {n / by_, n % by_};
    const auto small = static_cast<std::uint32_t>(n);
    const auto high = static_cast<std::uint32_t>(std::uint64_t{small} * magic_ >> 32);
    const std::uint32_t quotient = (high + small) >> shift_;
    return {quotient, small - quotient * static_cast<std::uint32_t>(by_)};
  }
  __host__ __device__ std::int64_t by() const { return by_; }

 private:
  std::int64_t by_ = 1;
  std::uint32_t magic_ = 1;
  unsigned shift_ = 0;
};

}  // namespace tapescope::TAPESCOPE_GPU
