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

std::shared_ptr<PictureRoom> picture_room(const TrainConfig& config) {
  if (config.cache == "memory") return PictureRoom::of_memory();
  return config.cache == "disk" && is_folder(config.out) ? PictureRoom::of_disk(config.out)
                                                         : nullptr;
}

std::string room_sentence(const TrainConfig& config, const PictureRoom& room, std::int64_t bytes) {
  const auto gib = [](std::int64_t n) { return static_cast<double>(n) / 0x1p30; };
  return fmt::format("--cache {}: about {:.2f} GiB of pictures as they are before what is random{}",
                     config.cache, gib(bytes),
                     bytes <= room.bytes()
                         ? fmt::format("; {:.2f} GiB are free for them", gib(room.bytes()))
                         : fmt::format(", of which {:.2f} GiB are kept, half of what is free: the "
                                       "others are decoded in each epoch",
                                       gib(room.bytes())));
}

}  // namespace tapescope::tasks
