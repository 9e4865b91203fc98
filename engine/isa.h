// Which vector instructions the CPU kernels may use, decided once at run time.
#pragma once

#include <string_view>

namespace tapescope {

// Ordered: a level includes those before it.
enum class Isa : unsigned char { baseline, avx2, avx512 };

std::string_view name_of(Isa isa);

// The best level this processor has, or the one that the environment variable TAPESCOPE_ISA
// (baseline, avx2, avx512) names, capped at what the processor has.
Isa isa();

// For tests: switches the level (capped at what the processor has) and returns the previous one.
Isa set_isa(Isa level);

}  // namespace tapescope
