#include "tools/training/stored_config.h"

#include <CLI/CLI.hpp>
#include <algorithm>

namespace tapescope {
namespace {

namespace fs = std::filesystem;

// Whether the text is a value of this type, which then is `value`.
template <class T>
bool parsed(const std::string& text, T& value) {
  return CLI::detail::lexical_cast(text, value);
}

}  // namespace

std::vector<StoredOption> read_options(const fs::path& file, const std::string& who) {
  std::vector<StoredOption> options;
  try {
    for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_file(file.string())) {
      if (item.name == "++" || item.name == "--" || item.inputs.empty()) continue;
      options.push_back({item.parents.empty() ? "" : item.parents[0], item.name, item.inputs[0]});
    }
  } catch (const CLI::Error& error) {
    throw usage_error("{} '{}' cannot be read: {}", who, file.string(), error.what());
  }
  return options;
}

void take_stored_options(TrainConfig& config, const std::vector<std::string>& given,
                         const std::string& who) {
  const fs::path path = fs::path(config.out) / "config.toml";
  const bool resume = who == "--resume";
  if (!fs::exists(path)) {
    throw usage_error("{}: '{}' is no run directory (no config.toml); check the path{}", who,
                      config.out, resume ? ", or leave --resume out" : "");
  }
  std::map<std::string, std::string> stored;
  for (const StoredOption& option : read_options(path, who + ":")) {
    stored[option.name] = option.value;
  }
  stored.try_emplace("exif", name_of(Exif::ignore));  // of older versions
  stored.try_emplace("preprocess", "data");
  stored.try_emplace("chunks", "1");
  for_each_option(config, [&](std::string_view option, auto& value, std::string_view) {
    const std::string name(option);
    const bool typed = std::find(given.begin(), given.end(), name) != given.end();
    const auto it = stored.find(name);
    if (typed && may_change_on_resume(name)) return;
    auto old = std::decay_t<decltype(value)>(value);
    if (it == stored.end()) {
      old = {};  // an empty text is not written
    } else if (!parsed(it->second, old)) {
      throw usage_error("{}: '{}' has '{}' for {}, which cannot be understood", who, path.string(),
                        it->second, name);
    }
    if (typed && old != value) {
      throw usage_error(
          "--resume: the run has {} = {}, not {}; leave --{} out, or start another "
          "run with another --out{}",
          name, old, value, name,
          name == "epochs"
              ? fmt::format(" that goes on from it: --weights {}/checkpoints/last.safetensors",
                            config.out)
              : "");
    }
    if (it != stored.end()) value = old;
  });
}

}  // namespace tapescope
