// The one list of what can be learnt.
#include "tools/tasks/classification/classification.h"
#include "tools/tasks/detection/detection.h"
#include "tools/tasks/multilabel/multilabel.h"

namespace tapescope::tasks {
namespace {

const DetectionKit detection_kit;
const MultiLabelKit multi_label_kit;
const ClassificationKit classification_kit;

// The last takes what no other does; of a model that several have, the last is meant.
constexpr const Kit* kKits[] = {&detection_kit, &multi_label_kit, &classification_kit};

}  // namespace

std::span<const Kit* const> kits() { return kKits; }

}  // namespace tapescope::tasks
