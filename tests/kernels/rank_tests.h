// What tests of ranks share.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>
#include <utility>

#include "engine/error.h"

namespace tapescope {

using Variables = std::map<std::string, std::string>;

class Environment {
 public:
  explicit Environment(Variables set) : set_(std::move(set)) {
    for (const auto& [name, value] : set_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const auto& [name, value] : set_) ::unsetenv(name.c_str());
  }

 private:
  Variables set_;
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
