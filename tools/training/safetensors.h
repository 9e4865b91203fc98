// The safetensors file format: eight bytes of little-endian header length, a JSON header that gives
// each tensor's dtype, shape and place, then the tensors' bytes.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace tapescope {

struct StoredTensor {
  std::string name;
  Tensor tensor;  // on the host
};

struct Safetensors {
  std::vector<StoredTensor> tensors;  // in the order of their data
  std::map<std::string, std::string> metadata;

  // Null where there is no tensor of this name.
  const Tensor* find(const std::string& name) const;
};

// Reads a whole file. F32, F64, BF16, I64 and U8 come as they are; F16 comes as f32 and I32 as i64
// (exactly). Throws a usage error that says what is wrong: no such file, cut short or too long, a
// header that is no header, a tensor twice, an unknown dtype, offsets that overlap, leave holes,
// leave the file or do not fit the shape. Never crashes, whatever the bytes.
Safetensors read_safetensors(const std::filesystem::path& path);

// Writes atomically: after a crash there is the old file or the new one. Equal arguments give equal
// bytes: wider dtypes first, then by name, as the reference implementation orders them (which keeps
// every tensor aligned). dtypes: f32, f64, bf16, i64, u8. Throws a usage error on a name given
// twice or "__metadata__" as a name, a failure where the file cannot be written.
void write_safetensors(const std::filesystem::path& path, const std::vector<StoredTensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace tapescope
