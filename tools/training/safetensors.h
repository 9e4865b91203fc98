// The safetensors file format: eight bytes of little-endian header length, a JSON header that gives
// each tensor's dtype, shape and place, then the tensors' bytes.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <unordered_map>
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

// A tensor's name as it may be shown, and not longer than a line.
std::string shown_name(const std::string& name);

// A file whose header is read and held against its length; a tensor is read when it is asked for.
class SafetensorsFile {
 public:
  struct Entry {
    std::string name, dtype;  // "F32", or one that is not read
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0, end = 0;  // of its bytes, from where the data begins
  };
  // Throws a usage error that says what is wrong: no such file, another format (by its first bytes,
  // with what to do), cut short or too long, a header that is no header, a tensor twice, offsets
  // that overlap, leave holes, leave the file or do not fit the shape. Never crashes, whatever the
  // bytes.
  explicit SafetensorsFile(std::filesystem::path path);
  const std::filesystem::path& path() const { return path_; }
  const std::vector<Entry>& entries() const { return entries_; }  // in the order of their data
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const Entry* find(const std::string& name) const;  // null where there is none
  std::uint64_t data_bytes() const;                  // of all tensors
  // F32, F64, BF16, I64 and U8 come as they are; F16 comes as f32 and I32 as i64 (exactly). A usage
  // error for any other dtype and for more axes than a Shape has.
  Tensor read(const Entry& entry);

 private:
  void read_entries(std::uint64_t available);
  std::filesystem::path path_;
  std::string shown_;  // the path as it may be shown
  std::ifstream stream_;
  std::uint64_t data_ = 0;  // where the data begins
  std::vector<Entry> entries_;
  std::unordered_map<std::string, std::size_t> by_name_;
  std::map<std::string, std::string> metadata_;
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
