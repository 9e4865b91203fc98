#include "tools/tasks/onnx_facts.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"
#include "tools/files/text_file.h"

namespace tapescope::tasks {

std::vector<std::string> classes_of(const RunRequest& asked, const onnx::Metadata& said,
                                    std::int64_t count, std::vector<std::string>& notices) {
  std::vector<std::string> classes = said.classes;
  if (!asked.onnx.class_names.empty()) classes = lines_of(asked.onnx.class_names);
  if (classes.empty()) {
    notices.push_back(fmt::format(
        "'{}' does not name its {} classes: they are called by their numbers; --class-names FILE "
        "gives names, one per line",
        shown(asked.run), count));
    for (std::int64_t c = 0; c < count; ++c) classes.push_back(std::to_string(c));
  }
  if (static_cast<std::int64_t>(classes.size()) != count) {
    throw usage_error("'{}' answers {} numbers, but {} classes are named", shown(asked.run), count,
                      classes.size());
  }
  return classes;
}

void check_normalisation(const RunRequest& asked, const Normalize& normalize,
                         std::int64_t channels) {
  const auto fits = [&](const std::vector<double>& v) {
    return v.size() == 1 || v.size() == static_cast<std::size_t>(channels);
  };
  if (!fits(normalize.mean) || !fits(normalize.std)) {
    throw usage_error(
        "'{}' takes pictures of {} channels, but the normalisation has {} and {} "
        "numbers",
        shown(asked.run), channels, normalize.mean.size(), normalize.std.size());
  }
  if (std::find(normalize.std.begin(), normalize.std.end(), 0.0) != normalize.std.end()) {
    throw usage_error("'{}': pictures are divided by --std, which must not be 0", shown(asked.run));
  }
}

void tell_licence(const RunRequest& asked, const onnx::Metadata& said,
                  std::vector<std::string>& notices) {
  if (said.license.empty()) return;
  notices.push_back(
      fmt::format("'{}' says its licence is {}", shown(asked.run), shown(said.license)));
}

}  // namespace tapescope::tasks
