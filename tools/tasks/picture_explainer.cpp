#include "tools/tasks/picture_explainer.h"

#include <nlohmann/json.hpp>

namespace tapescope::tasks {

nlohmann::ordered_json PictureExplainer::facts(std::size_t, const explain::Attribution&) const {
  return nlohmann::ordered_json::object();
}

nlohmann::ordered_json PictureExplainer::cascade_json() const {
  return nlohmann::ordered_json::array();
}

}  // namespace tapescope::tasks
