// How a batch is shared among processes.
#pragma once

#include "kernels/common/pieces.h"

namespace tapescope {

// The input that a Program has besides where processes share a batch and something random is drawn:
// i64 {}, the first row's place in the batch.
inline constexpr const char* kFirstRow = "first_row";

}  // namespace tapescope
