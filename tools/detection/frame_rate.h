// Numbers that videos give as fractions: rates, times, shapes of pixels.
#pragma once

#include <cstdint>
#include <string>

namespace tapescope::detection {

// Without a value where either part is 0.
struct Ratio {
  std::int64_t num = 0, den = 0;
  bool has_value() const { return num > 0 && den > 0; }
  double value() const { return static_cast<double>(num) / static_cast<double>(den); }
  friend bool operator==(const Ratio&, const Ratio&) = default;
};
// "30000/1001" or "1281:1280"; without a value where the text is none.
Ratio parsed_ratio(const std::string& text);

}  // namespace tapescope::detection
