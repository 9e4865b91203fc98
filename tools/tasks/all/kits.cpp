// The one list of what can be learnt.
#include <fmt/ranges.h>

#include "tools/files/text.h"
#include "tools/tasks/classification/classification.h"
#include "tools/tasks/detection/detection.h"
#include "tools/training/checkpoint.h"

namespace tapescope::tasks {
namespace {

const DetectionKit detection_kit;
const ClassificationKit classification_kit;

// The last takes what no other does.
constexpr const Kit* kKits[] = {&detection_kit, &classification_kit};

}  // namespace

std::span<const Kit* const> kits() { return kKits; }

}  // namespace tapescope::tasks
