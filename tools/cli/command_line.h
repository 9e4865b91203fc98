// The options of a subcommand. CLI11 parses them; it is compiled behind this header alone, since it
// costs seconds in every file that includes it.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace tapescope::cli {

// One option, while it is described.
class Option {
 public:
  explicit Option(CLI::Option& option) : option_(option) {}
  Option& required();
  Option& show_default();  // help prints the value that it has now
  // Values out of these are usage errors.
  Option& range(int least, int most);
  Option& range(double least, double most);
  Option& positive();
  Option& not_negative();
  Option& one_of(std::initializer_list<const char*> words);
  Option& many();  // every word that is given, not the last alone
  Option& group(const char* heading);
  Option& excludes(const Option& other);  // a usage error where both are given
  // True once the option was given.
  Option& note_if_given(bool& given);

 private:
  CLI::Option& option_;
};

class CommandLine;

// A subcommand adds its options and returns what to do once they are parsed: the function returns
// the exit status and may throw.
struct Subcommand {
  const char* name;
  const char* summary;
  const char* example;  // works as printed
  std::function<int()> (*setup)(CommandLine& line);
};

class CommandLine {
 public:
  explicit CommandLine(CLI::App& app) : app_(app) {}
  // `names`: "--out", "--data,folder" or "images", which has no dashes and takes words without any.
  Option option(const std::string& names, std::string& value, const std::string& help = "");
  Option option(const std::string& names, std::vector<std::string>& value,
                const std::string& help = "");
  Option option(const std::string& names, int& value, const std::string& help = "");
  Option option(const std::string& names, std::int64_t& value, const std::string& help = "");
  Option option(const std::string& names, std::uint64_t& value, const std::string& help = "");
  Option option(const std::string& names, float& value, const std::string& help = "");
  Option option(const std::string& names, double& value, const std::string& help = "");
  Option option(const std::string& names, bool& value, const std::string& help = "");
  Option flag(const std::string& name, bool& value, const std::string& help);

  // Whether it was typed, or came from --config.
  bool given(const std::string& name) const;
  // The names, without dashes, of all that were.
  std::vector<std::string> all_given() const;

  // Second words, one of which must be typed: `inspect structure`. Does what that one does.
  std::function<int()> words(std::initializer_list<const Subcommand*> words);

 private:
  CLI::App& app_;
};

}  // namespace tapescope::cli
