// Arrays for NumPy.
#pragma once

#include <filesystem>

#include "engine/tensor.h"

namespace tapescope {

// Writes a host tensor (f32, f64, i64 or u8) as a .npy file of version 1.0, row-major, which
// numpy.load reads. Throws a usage error on another dtype or a tensor on another device, a failure
// where the file cannot be written.
void write_npy(const std::filesystem::path& path, const Tensor& tensor);

// Reads a .npy file of little-endian f2, f4, f8, i4, i8, u1 or b1, row-major: f2 comes as f32, i4
// and b1 as i64. Throws a usage error that names the file where it is none, or of another dtype,
// order or length.
Tensor read_npy(const std::filesystem::path& path);

}  // namespace tapescope
