// What tests of ranks share.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <string>

#include "engine/error.h"

namespace tapescope {

using Variables = std::map<std::string, std::string>;

// Sets variables; those it finds come back with their values.
class Environment {
 public:
  explicit Environment(const Variables& set) {
    for (const auto& [name, value] : set) {
      const char* found = std::getenv(name.c_str());
      before_[name] = found ? std::optional<std::string>(found) : std::nullopt;
      ::setenv(name.c_str(), value.c_str(), 1);
    }
  }
  ~Environment() {
    for (const auto& [name, value] : before_) {
      if (value)
        ::setenv(name.c_str(), value->c_str(), 1);
      else
        ::unsetenv(name.c_str());
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::map<std::string, std::optional<std::string>> before_;
};

template <class F>
std::string message_of(Blame blame, F&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.blame(), blame) << error.what();
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace tapescope
