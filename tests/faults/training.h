// A small training whose every byte is known, to be broken and compared.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/cli/program.h"

namespace tapescope::faults {

// What the preloaded interpose.cpp does to programs that are started while this lives.
class Injected {
 public:
  struct Fault {
    std::string folder;      // or a file
    std::string calls = "";  // "write", "rename", ...; empty: any
    long at = 0, times = 1;
    std::string action = "EIO";
  };
  explicit Injected(const Fault& fault);
  ~Injected();
  // Calls that were seen; -1 where the program was killed.
  long calls() const;

 private:
  TemporaryFolder folder_;
};

// A program's end and what it said.
bool says_one_sentence(const Result& result);

// Trains lenet (width 0.25) on 24 pictures for 9 steps, saving each.
class Training {
 public:
  Training();
  // The arguments for a run in `folder`: started, or resumed where it has a checkpoint.
  std::vector<std::string> command(const std::filesystem::path& folder) const;
  // What is wrong with a run that ended with 0, beside the one that nothing interrupted: weights,
  // optimizer state, history line by line (but for times), metrics (but for times), files left
  // over. Empty: nothing.
  std::string difference(const std::filesystem::path& folder) const;
  const std::filesystem::path& reference() const { return reference_; }
  std::filesystem::path data() const { return folder_ / "data"; }
  std::filesystem::path fresh();  // a folder for a run
  double seconds() const { return seconds_; }

 private:
  TemporaryFolder folder_;
  std::filesystem::path reference_;
  double seconds_ = 0;  // of the uninterrupted run, from start to end
  int runs_ = 0;
};

}  // namespace tapescope::faults
