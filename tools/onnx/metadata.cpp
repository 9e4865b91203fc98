#include "tools/onnx/metadata.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"

namespace tapescope::onnx {
namespace {

// A Python or JSON dict from numbers to names: {0: 'cat', 1: "dog's"}, {"0": "cat"}, in any order.
class NumberedNames {
 public:
  explicit NumberedNames(std::string_view text) : text_(text) {}

  // Empty where it is none, or where numbers are missing.
  std::vector<std::string> read() {
    std::map<std::int64_t, std::string> names;
    if (!next('{')) return {};
    while (!next('}')) {
      std::string key, name;
      if (!word(key) || !next(':') || !quoted(name)) return {};
      const std::optional<double> number = number_in(key);
      if (!number || names.size() == (1u << 20)) return {};
      names[std::llround(*number)] = std::move(name);
      next(',');
    }
    std::vector<std::string> list;
    for (auto& [number, name] : names) {
      if (number != static_cast<std::int64_t>(list.size())) return {};
      list.push_back(std::move(name));
    }
    return list;
  }

 private:
  bool next(char c) {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string& key) {
    if (quoted(key)) return true;
    while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])) != 0) {
      key += text_[at_++];
    }
    return !key.empty();
  }
  bool quoted(std::string& out) {
    const char quote = next('\'') ? '\'' : next('"') ? '"' : '\0';
    if (quote == '\0') return false;
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == quote) return ++at_, true;
      if (text_[at_] != '\\') {
        out += text_[at_];
      } else if (++at_ < text_.size()) {
        escape(out);
      }
    }
    return false;
  }
  // Python's and JSON's: \n, \t, \xE9, \u00E9; any other character is itself.
  void escape(std::string& out) {
    const char c = text_[at_];
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    std::uint32_t code = 0;
    const char* first = text_.data() + at_ + 1;
    if (digits > 0 && at_ + digits < text_.size() &&
        std::from_chars(first, first + digits, code, 16).ptr == first + digits) {
      out += utf8_of(code);
      at_ += digits;
    } else {
      out += c == 'n' ? '\n' : c == 't' ? '\t' : c;
    }
  }
  static std::string utf8_of(std::uint32_t code) {
    const auto tail = [&](int shift) { return static_cast<char>(0x80 | (code >> shift & 0x3f)); };
    if (code < 0x80) return {static_cast<char>(code)};
    if (code < 0x800) return {static_cast<char>(0xc0 | code >> 6), tail(0)};
    if (code < 0x10000) return {static_cast<char>(0xe0 | code >> 12), tail(6), tail(0)};
    return {static_cast<char>(0xf0 | (code >> 18 & 7)), tail(12), tail(6), tail(0)};
  }
  std::string_view text_;
  std::size_t at_ = 0;
};

template <class T>
std::vector<T> json_list(const std::string& text) {
  try {
    return nlohmann::json::parse(text).get<std::vector<T>>();
  } catch (const nlohmann::json::exception&) {
    return {};
  }
}

}  // namespace

Metadata metadata_of(const std::map<std::string, std::string>& entries) {
  Metadata said;
  const auto entry = [&](const char* key) {
    const auto at = entries.find(key);
    return at == entries.end() ? std::string() : at->second;
  };
  said.task = entry("task");
  said.license = entry("license");
  said.classes = json_list<std::string>(entry("classes"));
  said.mean = json_list<double>(entry("mean"));
  said.std = json_list<double>(entry("std"));
  const std::string names_text = entry("names");
  if (const auto names = NumberedNames(names_text).read(); !names.empty()) {
    said.classes = names;
    said.mean = {0};
    said.std = {1};
  }
  if (const std::vector<double> size = json_list<double>(entry("imgsz"));
      size.size() == 2 && size[0] == size[1] && size[0] >= 1 && size[0] <= 65536) {
    said.image_size = static_cast<std::int64_t>(size[0]);
  }
  return said;
}

std::vector<double> numbers_in(const std::string& option, const std::string& text) {
  std::vector<double> numbers;
  for (const std::string& part : comma_separated(text)) {
    const std::optional<double> number = number_in(part);
    if (!number || numbers.size() == 4) {
      throw usage_error("{} is '{}'; it is one number, or one per channel: 0.485,0.456,0.406",
                        option, shown(text));
    }
    numbers.push_back(*number);
  }
  return numbers;
}

}  // namespace tapescope::onnx
