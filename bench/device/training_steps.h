// Whole training steps on a device: forward, gradient, optimiser.
#pragma once

#include <string>
#include <vector>

#include "engine/device.h"

namespace tapescope {

struct StepTime {
  std::string model;
  std::int64_t image_size, batch;
  double seconds;
};
// pytorch_steps.py measures the same models, sizes and batches.
std::vector<StepTime> time_training_steps(Device device, bool quick);

}  // namespace tapescope
