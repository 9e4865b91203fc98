#include "engine/isa.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "engine/error.h"

namespace tapescope {
namespace {

Isa detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx512) return Isa::avx512;
  if (avx2) return Isa::avx2;
#endif
  return Isa::baseline;
}

Isa best() {
  static const Isa level = detect();
  return level;
}

Isa initial() {
  const char* wanted = std::getenv("TAPESCOPE_ISA");
  if (wanted == nullptr || *wanted == '\0') return best();
  for (Isa level : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    if (name_of(level) == wanted) return std::min(level, best());
  }
  throw usage_error("TAPESCOPE_ISA is '{}'; known levels are baseline, avx2 and avx512", wanted);
}

std::atomic<Isa>& current() {
  static std::atomic<Isa> level{initial()};
  return level;
}

}  // namespace

std::string_view name_of(Isa isa) {
  constexpr std::string_view names[] = {"baseline", "avx2", "avx512"};
  return names[static_cast<std::size_t>(isa)];
}

Isa isa() { return current().load(std::memory_order_relaxed); }

Isa set_isa(Isa level) { return current().exchange(std::min(level, best())); }

}  // namespace tapescope
