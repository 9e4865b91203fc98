// The one list of what can be learnt: a word here for each folder, which defines <name>_kit.
#include "tools/tasks/kit.h"

// The last takes what no other does; of a model that several have, the last is meant.
#define TAPESCOPE_KITS(KIT) KIT(detection) KIT(multilabel) KIT(classification)

namespace tapescope::tasks {

#define TAPESCOPE_DECLARE(name) const Kit& name##_kit();
TAPESCOPE_KITS(TAPESCOPE_DECLARE)
#define TAPESCOPE_ENTRY(name) &name##_kit(),

std::span<const Kit* const> kits() {
  static const Kit* const list[] = {TAPESCOPE_KITS(TAPESCOPE_ENTRY)};
  return list;
}

}  // namespace tapescope::tasks
