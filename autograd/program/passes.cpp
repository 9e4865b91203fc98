#include "autograd/program/passes.h"

#include <algorithm>
#include <cstdlib>
#include <string>

namespace tapescope {
namespace {

constexpr Pass kPasses[] = {
    {.name = "fold_constants",
     .what = "what is made of constants alone is made once, and is a constant",
     .run = fold_constants},
    {.name = "merge_common_steps",
     .what = "equal ops of the same values are computed once",
     .run = merge_common_steps},
    {.name = "fuse_batch_norm",
     .what = "batch norm in training, a residual branch, relu: one kernel each way",
     .run = fuse_batch_norm},
    {.name = "fuse_dropout", .what = "dropout of a relu as one kernel", .run = fuse_dropout},
    {.name = "fuse_max_pool",
     .what = "max pool of a relu as one kernel, whose gradient needs no mask",
     .run = fuse_max_pool},
    {.name = "fold_batch_norm",
     .what = "batch norm with stored statistics becomes part of the convolution's weights",
     .run = fold_batch_norm,
     .bits = false,
     .keeps_fixed = true},
    {.name = "fuse_convolution",
     .what = "a convolution, a residual branch and bounds in one pass",
     .run = fuse_convolution,
     .bits = false,
     .keeps_fixed = true},
    {.name = "recompute",
     .what = "within a limit of memory: what is cheap to make is made twice rather than kept",
     .run = nullptr},
};

void check(const std::string& name) {
  const auto is_it = [&](const Pass& pass) { return pass.name == name; };
  if (name == "all" || std::any_of(std::begin(kPasses), std::end(kPasses), is_it)) return;
  throw usage_error("[compile] there is no pass '{}'; there are {}, and 'all' for every one", name,
                    names_of_passes());
}

std::vector<std::string> all_left_out(const CompileOptions& options) {
  std::vector<std::string> texts = options.without, names;
  if (const char* more = std::getenv("TAPESCOPE_WITHOUT_PASSES")) texts.emplace_back(more);
  for (std::string_view rest : texts) {
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(','), rest.size());
      check(names.emplace_back(rest.substr(0, end)));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return names;
}

}  // namespace

std::span<const Pass> passes() { return kPasses; }

std::string names_of_passes() {
  std::string names;
  for (const Pass& pass : kPasses) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", pass.name);
  }
  return names;
}

bool is_left_out(std::string_view pass, const CompileOptions& options) {
  const std::vector<std::string> without = all_left_out(options);
  return std::any_of(without.begin(), without.end(),
                     [&](const std::string& name) { return name == pass || name == "all"; });
}

void run_passes(LoweredProgram& program, const Backend& backend, const CompileOptions& options) {
  const bool keeps_fixed = options.keep_fixed && program.assignments.empty();
  Rewriter rewriter(program, backend);
  for (const Pass& pass : kPasses) {
    if (pass.run == nullptr || (pass.keeps_fixed && !keeps_fixed)) continue;
    if (!is_left_out(pass.name, options)) pass.run(rewriter);
  }
  rewriter.finish();
}

}  // namespace tapescope
