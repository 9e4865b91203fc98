#include "tools/files/text.h"

#include <algorithm>

#include <fmt/ranges.h>

#include <cstdint>

namespace tapescope {
namespace {

// The code point that `bytes` begin with and how many bytes it has; 0 bytes where they begin with
// none (RFC 3629: shortest form, no surrogates, up to U+10FFFF).
struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 0;
};
CodePoint first_of(std::string_view bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
  const std::uint32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || length > bytes.size()) return {};
  std::uint32_t value = lead & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3Fu);
  }
  const bool shortest = length < 3 || value >= (length == 3 ? 0x800u : 0x10000u);
  if (!shortest || (value >= 0xD800 && value <= 0xDFFF) || value > 0x10FFFF) return {};
  return {value, length};
}

bool is_control(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x2028 && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069);
}

}  // namespace

std::string printable(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const CodePoint c = first_of(bytes);
    const std::size_t length = c.bytes == 0 ? 1 : c.bytes;
    if (c.bytes == 0 || is_control(c.value)) {
      for (std::size_t i = 0; i < length; ++i) {
        text += fmt::format("\\x{:02x}", static_cast<std::uint8_t>(bytes[i]));
      }
    } else {
      text += bytes.substr(0, length);
    }
    bytes.remove_prefix(length);
  }
  return text;
}

std::string printable_lines(std::string_view bytes) {
  std::string text;
  for (std::size_t end = 0; (end = bytes.find('\n')) != std::string_view::npos;) {
    text += printable(bytes.substr(0, end)) + "\n";
    bytes.remove_prefix(end + 1);
  }
  return text + printable(bytes);
}

std::vector<std::string> comma_separated(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

std::size_t characters(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string shortened(const std::string& text, std::size_t width) {
  const std::size_t length = characters(text);
  if (length <= width) return text;
  std::size_t at = 0;
  for (std::size_t left = length - (width - 3); left > 0; --left) {
    do ++at;
    while (at < text.size() && (text[at] & 0xc0) == 0x80);
  }
  return "..." + text.substr(at);
}

std::string padded(const std::string& text, std::size_t width) {
  return text + std::string(width - std::min(width, characters(text)), ' ');
}

std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 100;
  if (names.size() <= kMost) return fmt::format("{}", fmt::join(names, ", "));
  return fmt::format("{}, {}, ... {}", names[0], names[1], names.back());
}

std::string ranges_text(const std::vector<int>& numbers) {
  std::string text;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", numbers[i]);
    if (last > i) text += fmt::format("-{}", numbers[last]);
    i = last + 1;
  }
  return text;
}

}  // namespace tapescope
