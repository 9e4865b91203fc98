// The subcommands. One file each; the list is in main.cpp.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "kernels/common/variant.h"

namespace CLI {
class App;
}

namespace tapescope {
struct LoadedModel;
namespace detection {
struct LoadedDetector;
}
}  // namespace tapescope

namespace tapescope::cli {

// A subcommand adds its options to `app` and returns what to do once they are parsed: the function
// returns the exit status and may throw.
struct Subcommand {
  const char* name;
  const char* summary;
  const char* example;  // works as printed
  std::function<int()> (*setup)(CLI::App& app);
};

extern const Subcommand kTrain, kEval, kPredict, kExplain, kBenchmarkExplanations, kSynthesize,
    kInspect, kReport, kDetect, kKernels, kVerifyRun;

// --allow-outside, as every subcommand that opens data has it.
void add_allow_outside(CLI::App& app, bool& allow_outside);

// --run, --checkpoint, --device, --kernel, --threads and --allow-non-finite: what every subcommand
// on a trained model takes.
struct RunOptions {
  std::string run;
  std::string checkpoint = "best";
  std::string device = "auto", kernel;
  long threads = 0;
  bool allow_non_finite = false;
  bool allow_outside = false;  // of data: names in its files may lead out of it
  void add_to(CLI::App& app, bool required = true);
  void add_allow_outside(CLI::App& app);  // of subcommands with --data
  void apply() const;                     // sets the number of threads
  Backend backend() const;
  // The model as load_model and load_detector give it; what they notice goes to stderr.
  LoadedModel classifier() const;
  detection::LoadedDetector detector() const;
  RunOptions at(const std::string& other_checkpoint) const;
};

// Makes the folder of --out, or one in it; a usage error where it cannot be made.
void make_output_folder(const std::filesystem::path& folder);

// "a,b" -> a and b; "" is one empty word.
std::vector<std::string> comma_separated(const std::string& text);

}  // namespace tapescope::cli
