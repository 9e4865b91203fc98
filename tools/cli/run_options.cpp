#include <fmt/format.h>

#include <algorithm>
#include <climits>

#include "engine/thread_pool.h"
#include "tools/cli/cli.h"
#include "tools/training/config.h"

namespace tapescope::cli {

void RunOptions::add_to(CommandLine& line, bool required) {
  Option option = line.option("--run", run, "run directory of `tapescope train`");
  if (required) option.required();
  line.option("--checkpoint", checkpoint, "best, last, initial or a file").show_default();
  line.option("--device", device, "auto (a GPU where there is one), cpu, cuda or emulated")
      .show_default();
  line.option("--kernel", kernel, "FAMILY=VARIANT[,...]: kernels by name, see `tapescope kernels`");
  line.option("--threads", threads, "threads of the engine; 0: one per processor");
  line.flag("--allow-non-finite", allow_non_finite,
            "take a model although it holds NaN or infinite values");
}

void RunOptions::add_allow_outside(CommandLine& line) {
  line.flag("--allow-outside", allow_outside, kAllowOutsideHelp);
}

void RunOptions::apply() const {
  if (threads != 0) set_thread_count(static_cast<int>(std::clamp<long>(threads, -1, INT_MAX)));
}

Backend RunOptions::backend() const { return {device_from_name(device), parse_kernels(kernel)}; }

int print(const tasks::Answer& answer, bool json) {
  fmt::print("{}", json ? answer.json + "\n" : answer.text);
  return answer.status;
}

}  // namespace tapescope::cli
