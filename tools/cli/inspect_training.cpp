#include <CLI/CLI.hpp>

#include "tools/cli/inspect.h"

namespace tapescope::cli {
const Subcommand kInspectTraining = {"training", "x", "x", [](CLI::App&) { return std::function<int()>([] { return 0; }); }};
}
