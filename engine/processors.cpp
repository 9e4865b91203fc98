#include "engine/processors.h"

#include <fmt/format.h>
#include <sched.h>

namespace tapescope {
namespace {

// Of plain memory: it is written before anything is constructed.
cpu_set_t remembered;
bool is_remembered;

}  // namespace

void remember_processors() noexcept {
  is_remembered = sched_getaffinity(0, sizeof remembered, &remembered) == 0;
}

void restore_processors() noexcept {
  if (is_remembered) sched_setaffinity(0, sizeof remembered, &remembered);  // best effort
}

std::vector<int> allowed_processors() {
  cpu_set_t now;
  CPU_ZERO(&now);
  const bool known = is_remembered || sched_getaffinity(0, sizeof now, &now) == 0;
  const cpu_set_t& set = is_remembered ? remembered : now;
  std::vector<int> processors;
  for (int cpu = 0; known && cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) processors.push_back(cpu);
  }
  if (processors.empty()) processors.push_back(0);
  return processors;
}

std::string processors_text(const std::vector<int>& processors) {
  std::string text;
  for (std::size_t i = 0; i < processors.size();) {
    std::size_t last = i;
    while (last + 1 < processors.size() && processors[last + 1] == processors[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", processors[i]);
    if (last > i) text += fmt::format("-{}", processors[last]);
    i = last + 1;
  }
  return text;
}

}  // namespace tapescope
