#include "tools/training/memory_limit.h"

#include <charconv>
#include <cmath>

#include "autograd/program/recompute.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

std::string human(std::size_t bytes) {
  const auto number = static_cast<double>(bytes);
  return number < 1e9 ? fmt::format("{:.1f} MB", number / 1e6)
                      : fmt::format("{:.2f} GB", number / 1e9);
}
// As an option, and not below it.
std::string option(std::size_t bytes) {
  return bytes < 100'000'000 ? fmt::format("{}K", bytes / 1000 + 1)
                             : fmt::format("{}M", bytes / 1'000'000 + 1);
}

}  // namespace

std::size_t memory_limit_from(const std::string& text) {
  if (text.empty()) return 0;
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  std::string unit(rest, end);
  if (unit.size() == 2 && unit[1] == 'B') unit.pop_back();
  const double factor = unit == "K"                   ? 1e3
                        : unit == "M"                 ? 1e6
                        : unit == "G"                 ? 1e9
                        : unit == "T"                 ? 1e12
                        : unit.empty() || unit == "B" ? 1
                                                      : 0;
  const double bytes = number * factor;
  if (error != std::errc() || !(bytes >= 1) || !(bytes < 1e18)) {
    throw usage_error(
        "--memory-limit is '{}'; it must be bytes, or a number with K, M, G or T, such as 800M or "
        "1.5G",
        printable(text));
  }
  return static_cast<std::size_t>(bytes);
}

void limit_arena(Program& program, Tape& tape, std::span<const Var> outputs, const Effects& effects,
                 CompileOptions options, std::size_t most) {
  const MemoryPlan plan = program.plan(options.memory_rows);
  if (plan.arena <= most) return;
  options.memory_limit = plan.total() - plan.arena + most;
  program = tape.compile(outputs, effects, options);
}

std::size_t limit_memory(Program& program, Tape& tape, std::span<const Var> outputs,
                         const Effects& effects, CompileOptions options, std::size_t limit,
                         std::size_t beside) {
  if (limit == 0) return SIZE_MAX;
  const MemoryPlan plan = program.plan(options.memory_rows);
  options.memory_limit = limit > beside ? limit - beside : 1;
  try {
    if (plan.total() > options.memory_limit) program = tape.compile(outputs, effects, options);
  } catch (const MemoryLimitError& error) {
    throw usage_error(
        "--memory-limit {}: the least that was found to do for a step is {}, {} where nothing is "
        "computed again; {}--memory-limit {} is enough",
        human(limit), human(error.smallest + beside), human(plan.total() + beside),
        error.rows_that_fit > 0 ? fmt::format("--batch-size {} fits, or ", error.rows_that_fit)
                                : "no --batch-size fits; ",
        option(error.smallest + beside));
  }
  return options.memory_limit - (plan.total() - plan.arena);
}

std::string memory_told(const Recomputation& done, std::size_t beside) {
  if (done.values == 0) return "";
  return fmt::format(
      "memory: {} planned without a limit; {} value{} computed again, {}, +{:.1f} % FLOP",
      human(done.unlimited + beside), done.values, done.values == 1 ? " is" : "s are",
      human(done.bytes), 100 * done.flops);
}

}  // namespace tapescope
