// Numbers from environment variables.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "engine/error.h"

namespace tapescope {

// Nothing where the variable is absent or empty; a usage error where it is no number in [low,
// high].
inline std::optional<std::uint64_t> number_from_environment(const char* name, std::uint64_t low,
                                                            std::uint64_t high) {
  const char* found = std::getenv(name);
  const std::string_view text = found == nullptr ? "" : found;
  if (text.empty()) return std::nullopt;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), value);
  if (error != std::errc() || end != text.end() || value < low || value > high) {
    throw usage_error("{} is '{}'; it must be a whole number from {} to {}", name, text, low, high);
  }
  return value;
}

}  // namespace tapescope
