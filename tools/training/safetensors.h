// The safetensors file format: eight bytes of little-endian header length, a JSON header that gives
// each tensor's dtype, shape and place, then the tensors' bytes.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "tools/training/weights_file.h"

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

// A file whose header is read and held against its length; a tensor is read when it is asked for.
class SafetensorsFile final : public WeightsFile {
 public:
  // Throws a usage error that says what is wrong: no such file, another format (by its first bytes,
  // with what to do), cut short or too long, a header that is no header, a tensor twice, offsets
  // that overlap, leave holes, leave the file or do not fit the shape. Never crashes, whatever the
  // bytes.
  explicit SafetensorsFile(std::filesystem::path path);
  std::uint64_t data_bytes() const;  // of all tensors

 private:
  void read_entries(std::uint64_t available);
  void read_bytes(const Entry& entry, std::span<std::byte> to) override;
  std::ifstream stream_;
  std::uint64_t data_ = 0;  // where the data begins
};

// The whole file; usage errors as above.
Safetensors read_safetensors(const std::filesystem::path& path);

// Writes atomically: after a crash there is the old file or the new one. Equal arguments give equal
// bytes: wider dtypes first, then by name, as the reference implementation orders them (which keeps
// every tensor aligned). dtypes: f32, f64, bf16, i64, u8. Throws a usage error on a name given
// twice or "__metadata__" as a name, a failure where the file cannot be written.
void write_safetensors(const std::filesystem::path& path, const std::vector<StoredTensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace tapescope
