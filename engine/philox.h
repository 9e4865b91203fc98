// Philox4x32-10, the counter-based generator (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). The same (key, counter) gives the same bits on every device, so a random
// number has an address and never needs to be stored.
#pragma once

#include <array>
#include <cstdint>

#include "engine/hash.h"

namespace tapescope {

using PhiloxKey = std::array<std::uint32_t, 2>;
using PhiloxBlock = std::array<std::uint32_t, 4>;

constexpr PhiloxBlock philox(PhiloxKey key, PhiloxBlock counter) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

// 24 random bits to [0, 1): exact in f32.
constexpr float uniform_f32(std::uint32_t bits) {
  return static_cast<float>(bits >> 8) * (1.0f / 16777216.0f);
}

constexpr PhiloxKey philox_key(std::uint64_t value) {
  return {static_cast<std::uint32_t>(value), static_cast<std::uint32_t>(value >> 32)};
}

// A sequential view for host code (shuffles, initialisation, augmentation): the k-th number of a
// stream named by a 64-bit key.
class PhiloxStream {
 public:
  explicit PhiloxStream(std::uint64_t key) : key_(philox_key(mix(key))) {}
  std::uint32_t next_u32() {
    if (used_ == 4) {
      block_ = philox(key_, {static_cast<std::uint32_t>(index_),
                             static_cast<std::uint32_t>(index_ >> 32), 0, 0});
      ++index_;
      used_ = 0;
    }
    return block_[static_cast<std::size_t>(used_++)];
  }
  float uniform() { return uniform_f32(next_u32()); }
  double uniform_f64() {
    const std::uint64_t bits = (std::uint64_t{next_u32()} << 21) ^ (next_u32() >> 11);
    return static_cast<double>(bits & ((1ull << 53) - 1)) / 9007199254740992.0;
  }
  // Uniform in [0, bound), without bias (Lemire 2019).
  std::uint32_t below(std::uint32_t bound) {
    std::uint64_t product = std::uint64_t{next_u32()} * bound;
    if (static_cast<std::uint32_t>(product) < bound) {
      const std::uint32_t threshold = (0u - bound) % bound;
      while (static_cast<std::uint32_t>(product) < threshold) {
        product = std::uint64_t{next_u32()} * bound;
      }
    }
    return static_cast<std::uint32_t>(product >> 32);
  }
  // Standard normal by Box-Muller. Host only: libm and CUDA differ in the last bit.
  double normal();

 private:
  PhiloxKey key_;
  PhiloxBlock block_{};
  std::uint64_t index_ = 0;
  int used_ = 4;
};

}  // namespace tapescope
