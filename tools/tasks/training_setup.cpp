#include "tools/tasks/training_setup.h"

#include <fmt/ranges.h>

#include "engine/error.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"

namespace tapescope::tasks {

bool goes_on(const TrainConfig& config, const TrainingRequest& request) {
  return request.resume &&
         is_file(std::filesystem::path(config.out) / "checkpoints/last.safetensors");
}

void expect_accepted(const std::vector<std::string>& changes, const TrainConfig& config,
                     const TrainingRequest& request) {
  if (changes.empty()) return;
  const std::string all = printable(fmt::format("{}", fmt::join(changes, "; ")));
  if (request.data_changed != "accept") {
    throw usage_error(
        "--resume: '{}' is not as the training left it: {}; bring it back, or go on with what is "
        "there with --data-changed accept",
        config.data, all);
  }
  fmt::print(stderr, "the data changed since the training began: {}\n", all);
}

}  // namespace tapescope::tasks
