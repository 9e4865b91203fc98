#include "tools/files/text_file.h"

#include <charconv>
#include <cmath>
#include <fstream>
#include <sstream>

#include "engine/error.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::optional<double> number_in(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || !std::isfinite(value)) return {};
  return value;
}

std::string shown(std::string_view name) {
  constexpr std::size_t kMost = 200;
  if (name.size() <= kMost) return printable(name);
  return fmt::format("{}... ({} bytes)", printable(name.substr(0, kMost)), name.size());
}

std::string read_text(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  const auto complain = [&](std::string_view what) {
    throw usage_error("'{}' {}", shown(path.string()), what);
  };
  if (status.type() == fs::file_type::not_found) complain("does not exist");
  if (!fs::exists(status)) complain("cannot be looked at");
  if (!fs::is_regular_file(status)) complain("is no regular file and is not read");
  std::ifstream file(path, std::ios::binary);
  std::ostringstream all;
  all << file.rdbuf();
  if (!file || (!all && fs::file_size(path, error) > 0)) {
    complain("cannot be read; check its permissions");
  }
  std::string text = std::move(all).str();
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  return text;
}

std::string read_utf8(const fs::path& path) {
  std::string text = read_text(path);
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    throw usage_error("'{}' is UTF-16 text; save it as UTF-8", shown(path.string()));
  }
  return text;
}

std::vector<std::string> lines_of(const fs::path& path) {
  const std::string text = read_utf8(path);
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find_first_of("\n\r", begin), text.size());
    lines.emplace_back(trimmed(std::string_view(text).substr(begin, end - begin)));
    begin = end + (text.compare(end, 2, "\r\n") == 0 ? 2 : 1);
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

}  // namespace tapescope
