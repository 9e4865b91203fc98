#include "tools/cli/parse_error.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "tools/files/near_names.h"
#include "tools/files/text.h"

namespace tapescope::cli {
namespace {

// What other programs call them.
constexpr std::pair<const char*, const char*> kElsewhere[] = {{"--pretrained", "--weights"},
                                                              {"--learning-rate", "--lr"},
                                                              {"--workers", "--loader-threads"},
                                                              {"--num-workers", "--loader-threads"},
                                                              {"--gpu", "--device"},
                                                              {"--cuda", "--device"},
                                                              {"--output", "--out"},
                                                              {"--conf", "--threshold"},
                                                              {"--dataset", "--data"},
                                                              {"--arch", "--model"},
                                                              {"--imgsz", "--image-size"},
                                                              {"--wd", "--weight-decay"}};

const CLI::App& innermost(const CLI::App& app) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  return chosen.empty() ? app : innermost(*chosen[0]);
}

std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string meant_by(const std::string& option, const std::vector<std::string>& known) {
  for (const auto& [there, here] : kElsewhere) {
    if (option == there && std::find(known.begin(), known.end(), here) != known.end()) return here;
  }
  return near_name(option, known);
}

}  // namespace

std::string sentence_of(const CLI::ParseError& error, const CLI::App& app) {
  const CLI::App& command = innermost(app);
  std::string words = "tapescope";
  for (const CLI::App* part = &command; part != nullptr && part->get_parent() != nullptr;
       part = part->get_parent()) {
    words.insert(9, " " + part->get_name());
  }
  const std::vector<std::string> rest = app.remaining(true);
  if (dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr || rest.empty()) {
    return fmt::format("{}; see {} --help", printable(error.what()), words);
  }
  const std::vector<std::string> known = options_of(command);
  for (const std::string& word : rest) {
    if (!word.starts_with('-')) continue;
    const std::string option = word.substr(0, word.find('='));
    const std::string near = meant_by(option, known);
    return fmt::format("unknown option {}{}; see {} --help", printable(option),
                       near.empty() ? "" : "; did you mean " + near + "?", words);
  }
  const bool data = std::find(known.begin(), known.end(), "--data") != known.end();
  return fmt::format("'{}' was not expected{}; see {} --help", printable(rest[0]),
                     data ? "; did you mean --data " + printable(rest[0]) + "?" : "", words);
}

}  // namespace tapescope::cli
