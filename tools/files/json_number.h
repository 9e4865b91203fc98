// Whole numbers of JSON that others wrote.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace tapescope {

// Nothing where `value` is no whole number, or one that T does not hold: nlohmann's own conversion
// makes another number of 1.5, true and 2^40, and 1e300 is undefined behaviour to it.
template <class T, class Json>
std::optional<T> whole_in(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.template get<std::uint64_t>();
    return std::in_range<T>(number) ? std::optional(static_cast<T>(number)) : std::nullopt;
  }
  if (!value.is_number_integer()) return std::nullopt;
  const auto number = value.template get<std::int64_t>();
  return std::in_range<T>(number) ? std::optional(static_cast<T>(number)) : std::nullopt;
}

}  // namespace tapescope
