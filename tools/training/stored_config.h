// Options that a file holds: RUN/config.toml, and what --config names.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tools/training/config.h"

namespace tapescope {

struct StoredOption {
  std::string table;  // [train]; empty above all tables
  std::string name, value;
};
// TOML. Throws a usage error that begins with `who` where the file cannot be read.
std::vector<StoredOption> read_options(const std::filesystem::path& file, const std::string& who);

// The options that a run was started with. `given`: those that are typed again, which must agree
// unless they change no bit of the result, and `config` their values. `who` asks, for errors:
// "--resume" or a command.
void take_stored_options(TrainConfig& config, const std::vector<std::string>& given,
                         const std::string& who);

}  // namespace tapescope
