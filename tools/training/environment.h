// RUN/environment.json: what a training was made with, and its first losses, exactly. `verify-run`
// takes these steps again and compares.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tools/training/config.h"

namespace tapescope {

struct Environment {
  // What bits may depend on, and what else helps to find a difference, in words: "commit",
  // "compiler", "build", "libraries", "instruction set", "processor", "device", "threads", ...
  std::vector<std::pair<std::string, std::string>> facts;
  std::map<std::string, std::string> options;  // as option_values gives them

  struct Step {
    std::uint32_t loss = 0;    // its bits, f32
    std::uint64_t inputs = 0;  // a hash of the batch
    friend bool operator==(const Step&, const Step&) = default;
  };
  std::vector<Step> steps;  // the first of the training
};

// As Linux names it: "AMD EPYC"; "unknown" elsewhere.
std::string processor_name();

// Of this program, here and now.
Environment environment_of(const TrainConfig& config, Device device);
void write_environment(const std::filesystem::path& run, const Environment& environment);
// Throws a usage error where the run has none, as older ones, or it is damaged.
Environment read_environment(const std::filesystem::path& run);

// What differs, in words: "instruction set: avx2 then, baseline now". Options that may change when
// a training is resumed are left out: they change no bit.
std::vector<std::string> differences(const Environment& then, const Environment& now);

// Of bytes on the CPU.
std::uint64_t hash_of(const Tensor& tensor, std::uint64_t hash = 0);
std::uint64_t hash_of(const Batch& batch);
std::uint32_t loss_bits(double loss);

// Keeps the environment of a run and its first steps while it trains.
class FirstSteps {
 public:
  // Writes the file. A training that is resumed goes on with what was written, if it is the same
  // program on the same machine; otherwise the record stays as it is.
  FirstSteps(std::filesystem::path run, Environment environment, bool resume, std::int64_t step);
  void batch(const Batch& batch);
  // After the step of the last batch. Returns a sentence where the record is complete and cannot be
  // written: no reason to end a training.
  std::string step(double loss);
  std::string flush();

 private:
  bool done() const { return environment_.steps.size() >= kRecordedSteps || closed_; }
  std::filesystem::path run_;
  Environment environment_;
  std::uint64_t inputs_ = 0;
  bool closed_ = false;
};

// What `tapescope --version` prints.
std::string version_text();

}  // namespace tapescope
