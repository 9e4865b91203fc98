// A kernel of f32 on bf16 data: what it reads is widened into its workspace, what it writes is
// rounded from there. For what has no loops of its own in bf16: correct at f32's pace, and less.
#pragma once

#include <initializer_list>

#include "kernels/common/plan.h"

namespace tapescope {

// The elements of each operand and output that is bf16; kAsItIs passes one on.
inline constexpr std::int64_t kAsItIs = -1;
Plan widened(Plan f32, std::initializer_list<std::int64_t> in,
             std::initializer_list<std::int64_t> out);

}  // namespace tapescope
