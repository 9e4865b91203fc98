#include "tools/cli/training_run.h"

namespace tapescope::cli {
int train_detector(TrainConfig&, bool, bool, bool) { return 1; }
}  // namespace tapescope::cli
