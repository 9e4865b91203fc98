// Run directories: what is kept of a training, and getting it back.
//
//   RUN/config.toml   RUN/history.jsonl   RUN/metrics.json
//   RUN/checkpoints/{initial,last,best,epoch-NNN}.safetensors
//   RUN/checkpoints/state-<step>.safetensors
//
// A model file holds exactly what PyTorch's state_dict of the same network would: the same names,
// convolution weights {O, I, KH, KW}, num_batches_tracked as a scalar. What else is needed to use
// it (model, classes, pipeline) is string metadata. last.safetensors also names its state file
// (optimiser, position) and that file's hash: the state is written first, and renaming the model
// file commits both.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tools/training/safetensors.h"
#include "tools/training/trainer.h"
#include "tools/training/weights.h"

namespace tapescope {

// What model files say of how they are written, under tapescope.format; absent: 1. It grows where
// older versions would misread them.
inline constexpr int kRunFormat = 1;
// Throws a usage error for a file of a newer version.
void expect_known_format(const SafetensorsFile& file);

// The model file: `which` is best, last, initial or a file; or `run` itself, where that is a file.
// A usage error where the run has it not.
std::filesystem::path checkpoint_path(const std::filesystem::path& run, const std::string& which);
class Checkpoints {
 public:
  // Makes RUN and RUN/checkpoints; a usage error where they cannot be written. `metadata` is what
  // the model files say of their model.
  Checkpoints(std::filesystem::path run, std::map<std::string, std::string> metadata,
              std::int64_t keep);

  void save_initial(const Module& model) const;
  void save(const Module& model, const Optimizer& optimizer, const Progress& progress, bool best,
            bool epoch_end) const;
  // Model, optimiser and position as save() left them. `notices` receives what the user should
  // know: on another instruction set the bits may differ.
  Progress resume(Module& model, const Optimizer& optimizer,
                  std::vector<std::string>& notices) const;
  std::filesystem::path file(std::string_view name) const;  // "last" -> RUN/checkpoints/last....

 private:
  void write_model(const std::filesystem::path& path, const Module& model,
                   const std::map<std::string, std::string>& more) const;
  std::filesystem::path run_;
  std::map<std::string, std::string> metadata_;
  std::int64_t keep_;
};

}  // namespace tapescope
