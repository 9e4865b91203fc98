#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <climits>
#include <cstdio>
#include <sstream>

#include "engine/error.h"
#include "engine/thread_pool.h"
#include "tools/cli/cli.h"
#include "tools/cli/near_names.h"
#include "tools/cli/parse_error.h"
#include "tools/cli/process.h"
#include "tools/files/text.h"
#include "tools/training/config.h"
#include "tools/training/environment.h"

namespace tapescope::cli {

// The list of subcommands.
const Subcommand* const kSubcommands[] = {
    &kTrain,  &kEval,   &kPredict, &kExplain,  &kBenchmarkExplanations, &kSynthesize, &kInspect,
    &kReport, &kDetect, &kKernels, &kVerifyRun};

void RunOptions::add_to(CLI::App& app, bool required) {
  auto* option = app.add_option("--run", run, "run directory of `tapescope train`");
  if (required) option->required();
  app.add_option("--checkpoint", checkpoint, "best, last, initial or a file")
      ->capture_default_str();
  app.add_option("--device", device, "auto (a GPU where there is one), cpu, cuda or emulated")
      ->capture_default_str();
  app.add_option("--kernel", kernel,
                 "FAMILY=VARIANT[,...]: kernels by name, see `tapescope kernels`");
  app.add_option("--threads", threads, "threads of the engine; 0: one a processor");
  app.add_flag("--allow-non-finite", allow_non_finite,
               "take a model although it holds NaN or infinite values");
}

void add_allow_outside(CLI::App& app, bool& allow_outside) {
  app.add_flag("--allow-outside", allow_outside,
               "of annotated data: names in its files may lead out of the folder of --data");
}
void RunOptions::add_allow_outside(CLI::App& app) { cli::add_allow_outside(app, allow_outside); }

void make_output_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw usage_error("--out '{}' cannot be made: {}; choose another folder", folder.string(),
                      error.message());
  }
}

std::vector<std::string> comma_separated(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

void RunOptions::apply() const {
  if (threads != 0) set_thread_count(static_cast<int>(std::clamp<long>(threads, -1, INT_MAX)));
}

Backend RunOptions::backend() const { return {device_from_name(device), parse_kernels(kernel)}; }

namespace {

// `--config FILE` gives options as if they stood in front of those on the command line, so that
// what is typed wins. A table [train] holds for that subcommand only.
std::vector<std::string> with_config(std::vector<std::string> arguments) {
  std::vector<std::string> from_file;
  for (std::size_t i = 1; i < arguments.size();) {
    std::string file;
    if (arguments[i] == "--config" && i + 1 < arguments.size()) {
      file = arguments[i + 1];
      arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(i),
                      arguments.begin() + static_cast<std::ptrdiff_t>(i) + 2);
    } else if (arguments[i].starts_with("--config=")) {
      file = arguments[i].substr(9);
      arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
      continue;
    }
    std::vector<CLI::ConfigItem> items;
    try {
      items = CLI::ConfigTOML().from_file(file);
    } catch (const CLI::Error& error) {
      throw usage_error("--config '{}' cannot be read: {}", file, error.what());
    }
    for (const CLI::ConfigItem& item : items) {
      if (item.name == "++" || item.name == "--" || item.inputs.empty()) continue;
      if (!item.parents.empty() && item.parents[0] != arguments[0]) continue;
      from_file.push_back("--" + item.name + "=" + item.inputs[0]);
    }
  }
  // Behind the subcommand's name, and behind the second word of `inspect structure`.
  std::size_t at = 0;
  while (at < 2 && at < arguments.size() && !arguments[at].starts_with('-')) ++at;
  arguments.insert(arguments.begin() + static_cast<std::ptrdiff_t>(at), from_file.begin(),
                   from_file.end());
  return arguments;
}

int run(int argc, char** argv) {
  CLI::App app("Tapescope trains image classifiers and shows why they answer as they do.",
               "tapescope");
  app.set_version_flag("--version", version_text);
  app.require_subcommand(1);
  app.footer("tapescope SUBCOMMAND --help tells more, with an example.");
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  std::function<int()> chosen;
  for (const Subcommand* subcommand : kSubcommands) {
    CLI::App* sub = app.add_subcommand(subcommand->name, subcommand->summary);
    sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    sub->add_option("--config", "TOML file that may give any of these options");
    sub->footer(std::string("Example:\n  ") + subcommand->example);
    const std::function<int()> action = subcommand->setup(*sub);
    sub->callback([&chosen, action] { chosen = action; });
  }
  std::vector<std::string> known;
  for (const Subcommand* subcommand : kSubcommands) known.emplace_back(subcommand->name);
  if (argc < 2) {
    for (const Subcommand* subcommand : kSubcommands) {
      fmt::print(stderr, "tapescope {:<24}{}\n", subcommand->name, subcommand->summary);
    }
    throw usage_error("no subcommand given; tapescope SUBCOMMAND --help tells more of each");
  }
  if (argv[1][0] != '-' && std::find(known.begin(), known.end(), argv[1]) == known.end()) {
    throw usage_error("unknown subcommand '{}'{}; known are {}", argv[1],
                      did_you_mean(argv[1], known), fmt::join(known, ", "));
  }
  std::vector<std::string> arguments = with_config({argv + 1, argv + argc});
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(arguments);
  } catch (const CLI::Success& done) {  // --help, --version
    std::ostringstream text;
    const int status = app.exit(done, text);
    fmt::print("{}", text.str());
    return status;
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "tapescope: {}\n", sentence_of(error, app));
    return 2;
  }
  return chosen();
}

}  // namespace
}  // namespace tapescope::cli

int main(int argc, char** argv) {
  using namespace tapescope::cli;
  prepare_process();
  return end_output(status_of(run, argc, argv));
}
