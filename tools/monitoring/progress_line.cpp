#include "tools/monitoring/progress_line.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace tapescope::monitoring {

ProgressLine::ProgressLine() : terminal_(isatty(STDERR_FILENO) != 0) {}

void ProgressLine::update(const std::string& text) {
  if (!terminal_) return;
  // A line that wraps would not be overwritten.
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  fmt::print(stderr, "\r\033[K{}", text.substr(0, known ? size.ws_col - 1u : text.size()));
  std::fflush(stderr);
}

void ProgressLine::line(const std::string& text) {
  fmt::print(stderr, "{}{}\n", terminal_ ? "\r\033[K" : "", text);
}

std::string progress_bar(double share, int width) {
  const int done = static_cast<int>(std::clamp(share, 0.0, 1.0) * width);
  std::string bar(static_cast<std::size_t>(done), '=');
  if (done < width) bar += '>';
  bar.resize(static_cast<std::size_t>(width), ' ');
  return '[' + bar + ']';
}

std::string spaced(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

std::string clock_text(double seconds) {
  const auto s = static_cast<long>(std::max(0.0, seconds) + 0.5);
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace tapescope::monitoring
