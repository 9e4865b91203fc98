// Files beside a model that hold its large tensors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace tapescope::onnx {

// Opens files beneath one folder only. A file's name comes from whoever made the model, so that
// nothing it says may lead elsewhere: no absolute names, no "..", no links, no file that has a
// second name, no devices. With `allow_outside` all of that is allowed but devices.
class ExternalFiles {
 public:
  ExternalFiles(std::filesystem::path folder, bool allow_outside);
  ~ExternalFiles();
  ExternalFiles(const ExternalFiles&) = delete;
  ExternalFiles& operator=(const ExternalFiles&) = delete;

  // Throws a usage error that names `what` unless bytes [offset, offset + length) lie in the file;
  // length -1 is the rest of it. Returns the length.
  std::int64_t check(const std::string& what, const std::string& location, std::int64_t offset,
                     std::int64_t length);
  // Reads bytes that check() found.
  void read(const std::string& what, const std::string& location, std::int64_t offset,
            std::int64_t length, void* into);

 private:
  struct File {
    int descriptor = -1;
    std::int64_t size = 0;
  };
  const File& open(const std::string& what, const std::string& location);
  std::filesystem::path folder_;
  bool allow_outside_;
  std::map<std::string, File> files_;
};

}  // namespace tapescope::onnx
