// A file of named tensors, whatever its format.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/tensor.h"

namespace tapescope {

// A tensor's name as it may be shown, and not longer than a line.
std::string shown_name(const std::string& name);

// A dtype of files, what it is read as, and its size in the file: F16 as f32, I32 as i64 (both
// exactly), all others as they are.
struct FileType {
  const char* name;  // as safetensors names it: "BF16"
  DType dtype;
  std::size_t bytes;
};
// Null where it is not read.
const FileType* file_type(std::string_view name);
const char* file_name_of(DType dtype);

// The header is read and checked at once, a tensor when it is asked for.
class WeightsFile {
 public:
  struct Entry {
    std::string name, dtype;  // "F32", or one that is not read
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0, end = 0;  // of its bytes, as the format counts them
  };
  virtual ~WeightsFile() = default;
  const std::filesystem::path& path() const { return path_; }
  const std::vector<Entry>& entries() const { return entries_; }  // in the order of their data
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const Entry* find(const std::string& name) const;  // null where there is none
  // What the user should know of how the file was read.
  const std::vector<std::string>& notices() const { return notices_; }
  // One of entries(). A usage error for a dtype that is not read and for more axes than a Shape
  // has.
  Tensor read(const Entry& entry);

 protected:
  explicit WeightsFile(std::filesystem::path path);
  // Once entries_ are complete. A usage error where two have one name.
  void index_entries();
  // The entry's bytes, row-major and in the file's dtype.
  virtual void read_bytes(const Entry& entry, std::span<std::byte> to) = 0;

  std::filesystem::path path_;
  std::string shown_;  // the path as it may be shown
  std::vector<Entry> entries_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::string> notices_;

 private:
  std::unordered_map<std::string, std::size_t> by_name_;
};

// A safetensors file or what PyTorch's torch.save wrote (torch_file.h), by its first bytes. Usage
// errors as the two have them.
std::unique_ptr<WeightsFile> open_weights(const std::filesystem::path& path);

}  // namespace tapescope
