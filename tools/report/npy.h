// Arrays for NumPy.
#pragma once

#include <filesystem>

#include "engine/tensor.h"

namespace tapescope {

// Writes a host tensor (f32, f64, i64 or u8) as a .npy file of version 1.0, row-major, which
// numpy.load reads. Throws a usage error on another dtype or a tensor on another device, a failure
// where the file cannot be written.
void write_npy(const std::filesystem::path& path, const Tensor& tensor);

}  // namespace tapescope
