// TensorBoard's event files, written without TensorFlow.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/files/append_file.h"

namespace tapescope::monitoring {

// A file `events.out.tfevents.<time>.tapescope` of records: length, its checksum, an Event message,
// its checksum. Four messages are all that is needed, so they are encoded here rather than by
// Protocol Buffers. Each call is flushed: TensorBoard may read along.
class EventFile {
 public:
  // Makes the folder. What cannot be written is file().missing(), and tried again.
  explicit EventFile(const std::filesystem::path& folder);
  const std::filesystem::path& path() const { return file_.path(); }
  AppendFile& file() { return file_; }

  void scalar(std::string_view tag, std::int64_t step, double value);
  // Bins as TensorBoard draws them; numbers that are not finite are left out.
  void histogram(std::string_view tag, std::int64_t step, std::span<const float> values);
  // png: the file's bytes.
  void image(std::string_view tag, std::int64_t step, int height, int width, int channels,
             std::span<const std::uint8_t> png);

 private:
  void write_event(std::int64_t step, int field, const std::string& payload);
  AppendFile file_;
};

// CRC-32C (Castagnoli), and as TFRecord files store it: rotated and offset, so that a checksum of
// checksums is no trap.
std::uint32_t crc32c(std::string_view bytes);
std::uint32_t masked_crc32c(std::string_view bytes);

// The records of an event file; throws a failure naming the record whose checksum is wrong.
std::vector<std::string> read_records(const std::filesystem::path& path);

}  // namespace tapescope::monitoring
