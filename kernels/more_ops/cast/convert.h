// What a conversion between two dtypes gives, one element at a time; see cast.h for the rules.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "engine/type.h"

namespace tapescope {

template <class To, class From>
constexpr To convert(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (std::is_same_v<From, bf16>) {
    return convert<To>(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, bf16>) {
    if constexpr (std::is_same_v<From, float>) {
      return bf16(x);
    } else {
      // Once through f32 would round twice: drop to f32 towards zero with a sticky last bit.
      const auto wide = static_cast<double>(x);
      float narrow = static_cast<float>(wide);
      if (static_cast<double>(narrow) != wide && wide == wide) {
        auto bits = __builtin_bit_cast(std::uint32_t, narrow);
        const bool too_far =
            (narrow < 0 ? -static_cast<double>(narrow) : narrow) > (wide < 0 ? -wide : wide);
        if (too_far) --bits;
        narrow = __builtin_bit_cast(float, bits | 1u);
      }
      return bf16(narrow);
    }
  } else if constexpr (std::is_integral_v<To>) {
    if (!(x == x)) return 0;
    constexpr To lowest = std::numeric_limits<To>::min(), highest = std::numeric_limits<To>::max();
    if (x <= static_cast<From>(lowest)) return lowest;
    if constexpr (sizeof(To) > sizeof(From) && std::is_integral_v<From>) {
      return static_cast<To>(x);
    } else {
      if (x >= static_cast<From>(highest)) return highest;
      return static_cast<To>(x);
    }
  } else {
    return static_cast<To>(x);
  }
}

// Calls f(T{}) with the C++ type of a dtype.
template <class F>
auto with_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::bf16:
      return f(bf16{});
    case DType::f64:
      return f(double{});
    case DType::i64:
      return f(std::int64_t{});
    case DType::u8:
      return f(std::uint8_t{});
  }
  return f(std::uint8_t{});
}

}  // namespace tapescope
