#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <sstream>

#include "engine/error.h"
#include "tools/cli/cli.h"
#include "tools/cli/parse_error.h"
#include "tools/cli/process.h"
#include "tools/files/near_names.h"
#include "tools/training/environment.h"
#include "tools/training/stored_config.h"

namespace tapescope::cli {

// The list of subcommands.
const Subcommand* const kSubcommands[] = {
    &kTrain,      &kEval,    &kPredict,  &kExplain, &kBenchmarkExplanations,
    &kSynthesize, &kInspect, &kReport,   &kDetect,  &kWeights,
    &kShard,      &kKernels, &kVerifyRun};

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
    for (const StoredOption& option : read_options(file, "--config")) {
      if (!option.table.empty() && option.table != arguments[0]) continue;
      from_file.push_back("--" + option.name + "=" + option.value);
    }
  }
  // Behind the subcommand's name, and behind the second word of `inspect structure`.
  std::size_t at = 0;
  while (at < 2 && at < arguments.size() && !arguments[at].starts_with('-')) ++at;
  arguments.insert(arguments.begin() + static_cast<std::ptrdiff_t>(at), from_file.begin(),
                   from_file.end());
  return arguments;
}

// "--data" and so on, of the subcommand that was typed.
std::vector<std::string> long_names(const CLI::App& app) {
  const std::vector<CLI::App*> typed = app.get_subcommands();
  if (!typed.empty()) return long_names(*typed[0]);
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

}  // namespace

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
    CommandLine line(*sub);
    const std::function<int()> action = subcommand->setup(line);
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
  name_options(long_names(app));
  return chosen();
}

}  // namespace tapescope::cli
