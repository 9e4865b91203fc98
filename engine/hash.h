// Hashes that are the same on every machine and in every version: they name random numbers.
#pragma once

#include <cstdint>
#include <string_view>

namespace tapescope {

// FNV-1a, 64 bits: the stable hash used for scope paths and names in random keys.
constexpr std::uint64_t stable_hash(std::string_view text,
                                    std::uint64_t hash = 0xcbf29ce484222325ull) {
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

// splitmix64's finaliser: folds any number of 64-bit values into a well mixed one.
constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b = 0) {
  std::uint64_t z = a + 0x9E3779B97F4A7C15ull * (b + 1);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

}  // namespace tapescope
