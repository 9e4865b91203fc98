#include "tools/cli/cli.h"
#include "tools/detection/detector_file.h"
#include "tools/training/checkpoint.h"

namespace tapescope::cli {
namespace {

// Calls load(options) and prints what it noticed.
template <class Load>
auto told(bool allow_non_finite, Load&& load) {
  std::vector<std::string> notices;
  auto loaded = load(LoadOptions{allow_non_finite, &notices});
  for (const std::string& notice : notices) fmt::print(stderr, "{}\n", notice);
  return loaded;
}

}  // namespace

LoadedModel RunOptions::classifier() const {
  return told(allow_non_finite,
              [&](const LoadOptions& options) { return load_model(run, checkpoint, options); });
}

detection::LoadedDetector RunOptions::detector() const {
  return told(allow_non_finite, [&](const LoadOptions& options) {
    return detection::load_detector(run, checkpoint, options);
  });
}

RunOptions RunOptions::at(const std::string& other_checkpoint) const {
  RunOptions other = *this;
  other.checkpoint = other_checkpoint;
  return other;
}

}  // namespace tapescope::cli
