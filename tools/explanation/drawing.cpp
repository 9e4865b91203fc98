#include "tools/explanation/drawing.h"

#include "tools/quality/map_metrics.h"

namespace tapescope {

DrawableMap drawable(const explain::Attribution& attribution) {
  if (attribution.map.shape().rank() != 4) {
    throw usage_error("the map of {} has shape {} and lies over no picture", attribution.method,
                      to_string(attribution.map.shape()));
  }
  const explain::MethodInfo* info = explain::find_method(attribution.method);
  const bool sized = info != nullptr && info->is_sensitivity;
  return {
      quality::channel_sum(attribution.map, sized ? quality::Signs::dropped : quality::Signs::kept),
      sized ? Colors::sequential : Colors::diverging};
}

}  // namespace tapescope
