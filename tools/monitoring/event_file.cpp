#include "tools/monitoring/event_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>

#include "engine/error.h"

namespace tapescope::monitoring {
namespace {

// --- Protocol Buffers' wire format -----------------------------------------------------------
enum Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>((value & 0x7f) | 0x80));
  out.push_back(static_cast<char>(value));
}
void put_key(std::string& out, int field, Wire wire) {
  put_varint(out, static_cast<std::uint64_t>(field) << 3 | wire);
}
template <class T>
void put_raw(std::string& out, T value) {  // little-endian, as this program's machines are
  static_assert(std::endian::native == std::endian::little);
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}
void put_double(std::string& out, int field, double value) {
  put_key(out, field, kFixed64);
  put_raw(out, value);
}
void put_float(std::string& out, int field, float value) {
  put_key(out, field, kFixed32);
  put_raw(out, value);
}
void put_int(std::string& out, int field, std::int64_t value) {
  put_key(out, field, kVarint);
  put_varint(out, static_cast<std::uint64_t>(value));
}
void put_bytes(std::string& out, int field, std::string_view bytes) {
  put_key(out, field, kBytes);
  put_varint(out, bytes.size());
  out.append(bytes);
}
void put_doubles(std::string& out, int field, const std::vector<double>& values) {
  std::string packed;
  for (double value : values) put_raw(packed, value);
  put_bytes(out, field, packed);
}

// Field numbers of tensorflow/core/framework/summary.proto and util/event.proto.
constexpr int kEventWallTime = 1, kEventStep = 2, kEventFileVersion = 3, kEventSummary = 5;
constexpr int kSummaryValue = 1;
constexpr int kValueTag = 1, kValueSimple = 2, kValueImage = 4, kValueHistogram = 5;

std::string summary(std::string_view tag, const std::string& rest) {
  std::string value;
  put_bytes(value, kValueTag, tag);
  value += rest;
  std::string out;
  put_bytes(out, kSummaryValue, value);
  return out;
}

constexpr std::array<std::uint32_t, 256> kTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1u) != 0 ? c >> 1 ^ 0x82f63b78u : c >> 1;
    table[i] = c;
  }
  return table;
}();

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (char byte : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xffu];
  return ~crc;
}

std::uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8u;
}

EventFile::EventFile(const std::filesystem::path& folder)
    : file_(folder / fmt::format("events.out.tfevents.{}.tapescope",
                                 std::chrono::duration_cast<std::chrono::microseconds>(
                                     std::chrono::system_clock::now().time_since_epoch())
                                     .count())) {
  write_event(0, kEventFileVersion, "brain.Event:2");
}

void EventFile::write_event(std::int64_t step, int field, const std::string& payload) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  std::string event;
  put_double(event, kEventWallTime, now.count());
  put_int(event, kEventStep, step);
  put_bytes(event, field, payload);
  std::string length, record;
  put_raw(length, static_cast<std::uint64_t>(event.size()));
  record = length;
  put_raw(record, masked_crc32c(length));
  record += event;
  put_raw(record, masked_crc32c(event));
  file_.append(record);
}

void EventFile::scalar(std::string_view tag, std::int64_t step, double value) {
  std::string rest;
  put_float(rest, kValueSimple, static_cast<float>(value));
  write_event(step, kEventSummary, summary(tag, rest));
}

void EventFile::histogram(std::string_view tag, std::int64_t step, std::span<const float> values) {
  double low = 0, high = 0, sum = 0, squares = 0, count = 0;
  for (float v : values) {
    if (!std::isfinite(v)) continue;
    low = count == 0 ? v : std::min<double>(low, v);
    high = count == 0 ? v : std::max<double>(high, v);
    sum += v;
    squares += static_cast<double>(v) * v;
    ++count;
  }
  constexpr int kBins = 50;
  std::vector<double> limits(kBins), counts(kBins, 0);
  const double width = high > low ? (high - low) / kBins : 1;
  for (int i = 0; i < kBins; ++i) limits[static_cast<std::size_t>(i)] = low + width * (i + 1);
  for (float v : values) {
    if (!std::isfinite(v)) continue;
    const int bin = std::clamp(static_cast<int>((v - low) / width), 0, kBins - 1);
    ++counts[static_cast<std::size_t>(bin)];
  }
  std::string message;
  put_double(message, 1, low);
  put_double(message, 2, high);
  put_double(message, 3, count);
  put_double(message, 4, sum);
  put_double(message, 5, squares);
  put_doubles(message, 6, limits);
  put_doubles(message, 7, counts);
  std::string rest;
  put_bytes(rest, kValueHistogram, message);
  write_event(step, kEventSummary, summary(tag, rest));
}

void EventFile::image(std::string_view tag, std::int64_t step, int height, int width, int channels,
                      std::span<const std::uint8_t> png) {
  std::string message;
  put_int(message, 1, height);
  put_int(message, 2, width);
  put_int(message, 3, channels);  // 1: grey, 3: colour
  put_bytes(message, 4, {reinterpret_cast<const char*>(png.data()), png.size()});
  std::string rest;
  put_bytes(rest, kValueImage, message);
  write_event(step, kEventSummary, summary(tag, rest));
}

std::vector<std::string> read_records(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw usage_error("'{}' cannot be read", path.string());
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  std::vector<std::string> records;
  const auto check = [&](std::string_view part, std::size_t at) {
    std::uint32_t stored = 0;
    std::memcpy(&stored, bytes.data() + at, sizeof stored);
    if (stored != masked_crc32c(part)) {
      throw failure("'{}' is damaged: the checksum of record {} is wrong", path.string(),
                    records.size());
    }
  };
  for (std::size_t at = 0; at < bytes.size();) {
    constexpr std::size_t kHead = 12, kTail = 4;
    std::uint64_t length = 0;
    if (bytes.size() - at >= kHead) std::memcpy(&length, bytes.data() + at, sizeof length);
    if (bytes.size() - at < kHead || bytes.size() - at - kHead < length ||
        bytes.size() - at - kHead - length < kTail) {
      throw failure("'{}' ends in the middle of record {}", path.string(), records.size());
    }
    check(std::string_view(bytes).substr(at, 8), at + 8);
    const std::string_view data = std::string_view(bytes).substr(at + kHead, length);
    check(data, at + kHead + length);
    records.emplace_back(data);
    at += kHead + length + kTail;
  }
  return records;
}

}  // namespace tapescope::monitoring
