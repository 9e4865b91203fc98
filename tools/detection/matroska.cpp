#include "tools/detection/matroska.h"

#include <cmath>

namespace tapescope::detection {
namespace {

std::string big_endian(std::uint64_t value) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xFF);
  return bytes;
}

// A length of 7 bytes behind its mark.
std::string length(std::uint64_t bytes) { return big_endian(bytes | std::uint64_t{1} << 56); }

std::string id(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) {
    if (value >> shift != 0) bytes += static_cast<char>(value >> shift & 0xFF);
  }
  return bytes;
}

std::string element(std::uint32_t name, const std::string& content) {
  return id(name) + length(content.size()) + content;
}
std::string element(std::uint32_t name, std::uint64_t number) {
  return element(name, big_endian(number));
}

constexpr std::uint64_t kNanoseconds = 1000;  // in a unit of time

}  // namespace

std::string matroska_header(int height, int width) {
  const std::string video = element(0xB0, static_cast<std::uint64_t>(width)) +
                            element(0xBA, static_cast<std::uint64_t>(height)) +
                            element(0x2EB524, std::string("RGB\x18"));  // 24 bits per pixel
  const std::string track = element(0xD7, 1) + element(0x73C5, 1) +     // number, unique number
                            element(0x83, 1) + element(0x9C, 0u) +      // video, no lacing
                            element(0x86, std::string("V_UNCOMPRESSED")) + element(0xE0, video);
  return element(0x1A45DFA3, element(0x4282, std::string("matroska")) + element(0x4287, 4) +
                                 element(0x4285, 2)) +
         id(0x18538067) + std::string("\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFF") +  // of unknown length
         element(0x1549A966, element(0x2AD7B1, kNanoseconds)) +
         element(0x1654AE6B, element(0xAE, track));
}

std::string matroska_frame(const Image& image, double seconds) {
  const auto time = static_cast<std::uint64_t>(std::llround(seconds * 1e9 / kNanoseconds));
  const std::string clock = element(0xE7, time);
  // Track 1, no time after the cluster's, a key frame.
  const std::string head("\x81\x00\x00\x80", 4);
  const std::uint64_t block = head.size() + image.pixels.size();
  const std::string block_head = id(0xA3) + length(block);
  return id(0x1F43B675) + length(clock.size() + block_head.size() + block) + clock + block_head +
         head;
}

}  // namespace tapescope::detection
