// A bias by itself, for a library's convolution that has none.
#pragma once

#include <cstdint>

#include "engine/queue.h"
#include "engine/type.h"

namespace tapescope {

// rows[n, c] += bias[c], rows {count, C} f32 or bf16, bias {C} f32.
namespace cuda {
void add_to_rows(const Queue& queue, DType dtype, std::int64_t count, std::int64_t C,
                 const void* bias, void* rows);
}
namespace emulated {
void add_to_rows(const Queue& queue, DType dtype, std::int64_t count, std::int64_t C,
                 const void* bias, void* rows);
}

}  // namespace tapescope
