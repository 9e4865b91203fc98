#include "engine/processors.h"

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

void keep_processors(const std::vector<int>& processors) {
  CPU_ZERO(&remembered);
  for (const int cpu : processors) CPU_SET(static_cast<std::size_t>(cpu), &remembered);
  is_remembered = true;
  restore_processors();
}

std::vector<int> allowed_processors() {
  cpu_set_t set = remembered;
  const bool known = is_remembered || sched_getaffinity(0, sizeof set, &set) == 0;
  std::vector<int> processors;
  for (int cpu = 0; known && cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) processors.push_back(cpu);
  }
  if (processors.empty()) processors.push_back(0);
  return processors;
}

}  // namespace tapescope
