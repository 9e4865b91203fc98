// What the subcommands share. One file each; the list is in subcommands.cpp.
#pragma once

#include <string>

#include "kernels/common/variant.h"
#include "tools/cli/command_line.h"
#include "tools/tasks/run.h"

namespace tapescope::cli {

extern const Subcommand kTrain, kEval, kPredict, kExplain, kBenchmarkExplanations, kSynthesize,
    kInspect, kReport, kDetect, kWeights, kShard, kKernels, kVerifyRun;

// --run, --checkpoint, --device, --kernel, --threads and --allow-non-finite: what every subcommand
// on a trained model takes.
struct RunOptions : tasks::RunRequest {
  std::string device = "auto", kernel, precision = "f32";
  long threads = 0;
  bool named = false;  // apply() holds --run or --model to be there
  void add_to(CommandLine& line, bool required = true);
  // The same, with --model FILE.onnx in its place where one likes.
  void add_with_model(CommandLine& line);
  void add_precision(CommandLine& line);
  void add_allow_outside(CommandLine& line);  // of subcommands with --data
  void add_onnx(CommandLine& line);           // what an ONNX file does not say
  void add_onnx_end(CommandLine& line);       // of those, where its graph ends and how it answers
  void apply() const;                         // sets the number of threads
  Backend backend() const;
};

// What was typed, parsed and done; returns the exit status. Throws usage_error.
int run(int argc, char** argv);

// Prints the one or the other; returns the exit status.
int print(const tasks::Answer& answer, bool json);

}  // namespace tapescope::cli
