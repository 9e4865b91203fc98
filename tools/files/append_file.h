// A file that grows by whole records, and outlives a disk that is full for a while.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace tapescope {

// Each record is written at once, so that others may read along. One that cannot be written is
// kept, and tried again with the next one: nothing is lost as long as room comes back while the
// program runs. Nobody else writes to the file meanwhile.
class AppendFile {
 public:
  // Goes on behind what the file holds. It is made with the first record, and its folder with it.
  explicit AppendFile(std::filesystem::path path) : path_(std::move(path)) {}
  AppendFile(const AppendFile&) = delete;
  ~AppendFile();

  const std::filesystem::path& path() const { return path_; }
  // true: this record and all before it are in the file.
  bool append(std::string_view record);
  // Tries once more what is missing, and waits for the disk. true: nothing is missing.
  bool flush();
  // Records that are not in the file, and why the last try failed.
  std::int64_t missing() const { return missing_; }
  const std::string& cause() const { return cause_; }

 private:
  bool write_pending();
  std::filesystem::path path_;
  int file_ = -1;
  std::int64_t size_ = -1;  // of the file's whole records; -1: not known yet
  std::string pending_;
  std::int64_t missing_ = 0;  // in pending_, or given up
  std::int64_t given_up_ = 0;
  std::string cause_;
};

}  // namespace tapescope
