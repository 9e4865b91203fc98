// What was wrong with a command line, and what may have been meant.
#pragma once

#include <string>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace tapescope::cli {

// One sentence. `app` has parsed as far as it could.
std::string sentence_of(const CLI::ParseError& error, const CLI::App& app);

}  // namespace tapescope::cli
