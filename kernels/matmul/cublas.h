// Matrix product by cuBLASLt (part of the CUDA library; see kernels/cuda).
#pragma once

#include "kernels/matmul/matmul.h"

namespace tapescope::cublas {

const char* why_missing();  // "", or why cuBLAS cannot be used here
bool supports_matmul(const MatmulShape& shape);
Plan matmul(const MatmulShape& shape);

}  // namespace tapescope::cublas
