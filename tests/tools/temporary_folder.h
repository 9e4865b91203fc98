// A folder that is gone at the end of the test, and small helpers for files.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "engine/error.h"

namespace tapescope {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "tapescope-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline void put(const std::filesystem::path& path, std::span<const std::uint8_t> bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.good()) << path;
}
inline void put(const std::filesystem::path& path, const std::string& text) {
  put(path, std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}
inline std::vector<std::uint8_t> get(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(TAPESCOPE_SOURCE_DIR) / "tests" / "fixtures" / name;
}

// What lies beside the source, for tests that skip without it; empty where `name` is absent.
inline std::filesystem::path shared(const char* variable, const char* folder,
                                    const std::string& name) {
  const char* set = std::getenv(variable);
  const std::filesystem::path place =
      set != nullptr ? std::filesystem::path(set)
                     : std::filesystem::path(TAPESCOPE_SOURCE_DIR) / ".." / "shared" / folder;
  std::error_code error;
  return std::filesystem::exists(place / name, error) ? place / name : std::filesystem::path();
}
inline std::filesystem::path shared_data(const std::string& name) {
  return shared("TAPESCOPE_SHARED_DATA", "data", name);
}
// Inputs that once failed, each of a kind: "files/05_mixed_sizes".
inline std::filesystem::path shared_case(const std::string& name) {
  return shared("TAPESCOPE_SHARED_CASES", "cases", name);
}

// The message of the usage error that `call` throws; a failure otherwise.
template <class F>
std::string usage_message(F&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.blame(), Blame::usage) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return "";
}

}  // namespace tapescope
