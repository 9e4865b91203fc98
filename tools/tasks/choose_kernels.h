// The kernels that a training measures, or that were measured for it: --kernel measured.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "tools/monitoring/progress_line.h"
#include "tools/tasks/training_setup.h"
#include "tools/training/config.h"

namespace tapescope::tasks {

struct ChosenKernels {
  std::string text = {};  // what RUN/kernels.json is to be; empty: it is there, or none is
  std::filesystem::path file =
      {};  // whose choices these are; empty: they were measured, or none is
  KernelChoices choices = {};

  // Does what prepares kernels. Throws a usage error that names the file where one of its choices
  // does not cover its shape.
  void prepare(const std::function<void()>& what) const;
};

// What --kernel asks for beyond names goes to setup.options.kernels: the choices that the run has
// kept, those of another file, or what is measured now, which is told. Where a run goes on without
// its file, it is measured anew. Throws a usage error where a file is wrong, or what is to be
// measured is the emulator.
ChosenKernels choose_kernels(const TrainConfig& config, const TrainingRequest& request,
                             TrainingSetup& setup, monitoring::ProgressLine& out);

}  // namespace tapescope::tasks
