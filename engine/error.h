// Errors that name the thing, the cause and the remedy.
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>

namespace tapescope {

// Who has to act: the command line maps `usage` to exit status 2 and `failure` to 1.
enum class Blame {
  usage,    // an input, option, file or shape given by the caller
  failure,  // something went wrong while running: out of memory, NaN, disk full
};

// The only exception type the project throws. what() is one sentence (or a short block for
// out-of-memory) that names the operation, the values and shapes involved, and what to try.
class Error : public std::runtime_error {
 public:
  Error(Blame blame, std::string message) : std::runtime_error(std::move(message)), blame_(blame) {}
  Blame blame() const { return blame_; }

 private:
  Blame blame_;
};

// Formats out of line: error.h is in every file.
Error error_of(Blame blame, fmt::string_view text, fmt::format_args values);

// throw usage_error("[conv2d] {} input channels but the weights expect {}; ...", 3, 4);
template <class... Args>
Error usage_error(fmt::format_string<Args...> text, Args&&... args) {
  return error_of(Blame::usage, text, fmt::make_format_args(args...));
}

template <class... Args>
Error failure(fmt::format_string<Args...> text, Args&&... args) {
  return error_of(Blame::failure, text, fmt::make_format_args(args...));
}

}  // namespace tapescope
