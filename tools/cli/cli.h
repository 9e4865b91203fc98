// What the subcommands share. One file each; the list is in main.cpp.
#pragma once

#include <string>

#include "kernels/common/variant.h"
#include "tools/cli/command_line.h"
#include "tools/tasks/run.h"

namespace tapescope::cli {

extern const Subcommand kTrain, kEval, kPredict, kExplain, kBenchmarkExplanations, kSynthesize,
    kInspect, kReport, kDetect, kWeights, kKernels, kVerifyRun;

// --run, --checkpoint, --device, --kernel, --threads and --allow-non-finite: what every subcommand
// on a trained model takes.
struct RunOptions : tasks::RunRequest {
  std::string device = "auto", kernel;
  long threads = 0;
  void add_to(CommandLine& line, bool required = true);
  void add_allow_outside(CommandLine& line);  // of subcommands with --data
  void apply() const;                         // sets the number of threads
  Backend backend() const;
};

// Prints the one or the other; returns the exit status.
int print(const tasks::Answer& answer, bool json);

}  // namespace tapescope::cli
