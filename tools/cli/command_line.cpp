#include "tools/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <limits>

namespace tapescope::cli {

Option& Option::required() {
  option_.required();
  return *this;
}

Option& Option::show_default() {
  option_.capture_default_str();
  return *this;
}

Option& Option::range(int least, int most) {
  option_.check(CLI::Range(least, most));
  return *this;
}

Option& Option::range(double least, double most) {
  option_.check(CLI::Range(least, most));
  return *this;
}

Option& Option::positive() {
  option_.check(CLI::PositiveNumber);
  return *this;
}

Option& Option::not_negative() {
  option_.check(CLI::NonNegativeNumber);
  return *this;
}

Option& Option::one_of(std::initializer_list<const char*> words) {
  option_.check(CLI::IsMember(std::vector<std::string>(words.begin(), words.end())));
  return *this;
}

Option& Option::many() {
  option_.multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return *this;
}

Option& Option::group(const char* heading) {
  option_.group(heading);
  return *this;
}

Option& Option::excludes(const Option& other) {
  option_.excludes(&other.option_);
  return *this;
}

Option& Option::note_if_given(bool& given) {
  option_.each([&given](const std::string&) { given = true; });
  return *this;
}

namespace {

// CLI11 takes a number beyond the type's range for the nearest one in it, and -1 for the largest of
// those without a sign.
template <class Type>
std::string out_of_range(std::string& text) {
  errno = 0;
  bool fits = true;
  if constexpr (std::is_unsigned_v<Type>) {
    fits = !text.starts_with('-');
    std::strtoull(text.c_str(), nullptr, 0);
  } else {
    const long long value = std::strtoll(text.c_str(), nullptr, 0);
    fits = value >= std::numeric_limits<Type>::min() && value <= std::numeric_limits<Type>::max();
  }
  if (fits && errno != ERANGE) return "";
  return "Value " + text + " not in range " + std::to_string(std::numeric_limits<Type>::min()) +
         " to " + std::to_string(std::numeric_limits<Type>::max());
}

template <class Type>
CLI::Option* added(CLI::App& app, const std::string& names, Type& value, const std::string& help) {
  CLI::Option* option = app.add_option(names, value, help);
  if constexpr (std::is_integral_v<Type> && !std::is_same_v<Type, bool>) {
    option->check(CLI::Validator(out_of_range<Type>, ""));
  }
  return option;
}

}  // namespace

#define TAPESCOPE_OPTION(Type)                                                                 \
  Option CommandLine::option(const std::string& names, Type& value, const std::string& help) { \
    return Option(*added(app_, names, value, help));                                           \
  }
TAPESCOPE_OPTION(std::string)
TAPESCOPE_OPTION(std::vector<std::string>)
TAPESCOPE_OPTION(int)
TAPESCOPE_OPTION(std::int64_t)
TAPESCOPE_OPTION(std::uint64_t)
TAPESCOPE_OPTION(float)
TAPESCOPE_OPTION(double)
TAPESCOPE_OPTION(bool)
#undef TAPESCOPE_OPTION

Option CommandLine::flag(const std::string& name, bool& value, const std::string& help) {
  return Option(*app_.add_flag(name, value, help));
}

bool CommandLine::given(const std::string& name) const { return app_.count(name) > 0; }

std::vector<std::string> CommandLine::all_given() const {
  std::vector<std::string> names;
  for (const CLI::Option* option : app_.get_options()) {
    if (option->count() == 0) continue;
    for (const std::string& name : option->get_lnames()) names.push_back(name);
  }
  return names;
}

std::function<int()> CommandLine::words(std::initializer_list<const Subcommand*> words) {
  app_.require_subcommand(1);
  const auto chosen = std::make_shared<std::function<int()>>();
  for (const Subcommand* word : words) {
    CLI::App* sub = app_.add_subcommand(word->name, word->summary);
    sub->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    sub->footer(std::string("Example:\n  ") + word->example);
    CommandLine line(*sub);
    const std::function<int()> action = word->setup(line);
    sub->callback([chosen, action] { *chosen = action; });
  }
  return [chosen] { return (*chosen)(); };
}

}  // namespace tapescope::cli
