#include "tools/explanation/drawing.h"

#include "tools/quality/map_metrics.h"

namespace tapescope {

DrawableMap drawable(const explain::Attribution& attribution) {
  if (attribution.map.shape().rank() != 4) {
    throw usage_error("the map of {} has shape {} and lies over no picture", attribution.method,
                      to_string(attribution.map.shape()));
  }
  const explain::Method* method = explain::find_method(attribution.method);
  const bool sized = method != nullptr && method->has(explain::kSensitivity);
  return {
      quality::channel_sum(attribution.map, sized ? quality::Signs::dropped : quality::Signs::kept),
      sized ? Colors::sequential : Colors::diverging};
}

}  // namespace tapescope
