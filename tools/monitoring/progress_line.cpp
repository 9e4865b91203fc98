#include "tools/monitoring/progress_line.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace tapescope::monitoring {
namespace {

// A line that cannot be written is no reason to give up a training: the terminal may be gone.
void say(const std::string& text) { std::fputs(text.c_str(), stderr); }

}  // namespace

ProgressLine::ProgressLine(bool silent)
    : silent_(silent), terminal_(!silent && isatty(STDERR_FILENO) != 0) {}

void ProgressLine::update(const std::string& text) {
  if (!terminal_) return;
  // A line that wraps would not be overwritten.
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  say("\r\033[K" + text.substr(0, known ? size.ws_col - 1u : text.size()));
  std::fflush(stderr);
}

void ProgressLine::line(const std::string& text) {
  if (silent_) return;
  say((terminal_ ? "\r\033[K" : "") + text + "\n");
}

ProgressBar::ProgressBar(std::string what, std::int64_t total)
    : what_(std::move(what)),
      total_(total),
      began_(std::chrono::steady_clock::now()),
      told_(began_) {}

ProgressBar::~ProgressBar() { out_.update(""); }

void ProgressBar::done(std::int64_t count) {
  constexpr std::chrono::seconds kSilent{5};  // between two lines where nothing is overwritten
  const auto now = std::chrono::steady_clock::now();
  const auto share =
      static_cast<double>(count) / static_cast<double>(std::max<std::int64_t>(total_, 1));
  const double spent = std::chrono::duration<double>(now - began_).count();
  const std::string text = fmt::format("{} of {}, {} left", count, total_,
                                       clock_text(count > 0 ? spent / share - spent : 0));
  if (out_.terminal()) {
    out_.update(fmt::format("{} {} {}", what_, progress_bar(share), text));
  } else if (count < total_ && now - told_ >= kSilent) {
    out_.line(what_ + " " + text);
    told_ = now;
  }
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
