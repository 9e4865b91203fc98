// JSON that several analyses share. Included by their *_json.cpp files only.
#pragma once

#include <nlohmann/json.hpp>

#include "tools/inspection/histogram.h"

namespace tapescope::inspection {

inline nlohmann::ordered_json histogram_json(const Histogram& h) {
  return {{"low", h.low},     {"high", h.high},   {"counts", h.counts},
          {"below", h.below}, {"above", h.above}, {"not_finite", h.not_finite}};
}

}  // namespace tapescope::inspection
