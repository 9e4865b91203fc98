// What the fuzz targets share. A target takes bytes as somebody's file; it may throw an Error,
// whose text is a sentence that can be shown, and nothing else.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tapescope::fuzz {

using Bytes = std::span<const std::uint8_t>;
using Seeds = std::vector<std::vector<std::uint8_t>>;

struct Target {
  const char* name;
  void (*run)(Bytes);
  Seeds (*seeds)();   // small and valid
  bool text = false;  // every other mutation changes a number written as text, and no bracket
};
extern const Target kPicture, kIdx, kStream, kNpy;          // pictures.cpp
extern const Target kSafetensors, kRun, kConfig, kHistory;  // runs.cpp
extern const Target kVoc, kCoco, kYolo;                     // annotations.cpp
extern const Target kOnnx;                                  // onnx.cpp
extern const Target kPickle, kTorch;                        // torch.cpp
extern const Target kShard;                                 // shards.cpp

// Calls `read` and returns the text of the Error it ends with, or "". Any other exception ends the
// program.
std::string sentence_of(const std::function<void()>& read);

// Aborts where a promise is not kept.
void promise(bool kept, const char* what);

// With TAPESCOPE_PLANTED_FAULT set: reads past the end of a block once `reached`, which no seed
// makes true. Whether a target works is seen by whether it finds this.
void planted_fault(bool reached);

// A folder of this process in memory (/dev/shm, or where TAPESCOPE_FUZZ_SCRATCH says), gone at the
// end.
const std::filesystem::path& scratch();
std::filesystem::path write(const std::string& name, Bytes bytes);
std::filesystem::path write(const std::string& name, std::string_view text);

inline std::vector<std::uint8_t> bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}
std::vector<std::uint8_t> content_of(const std::filesystem::path& path);

}  // namespace tapescope::fuzz
