// Small text files that people and other programs wrote, and the numbers in them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tapescope {

// Without blanks and line ends around it.
std::string_view trimmed(std::string_view text);

// The finite number that `text` is, blanks around it aside; nothing for "10,5", "12px", "nan",
// "1e999" and "".
std::optional<double> number_in(std::string_view text);

// A name from outside as it may stand in a sentence: printable, and cut where it is very long.
std::string shown(std::string_view name);

// A regular file's bytes, through links, without a byte order mark. Throws a usage error that names
// the file where it is missing, a folder, a device or a pipe, or cannot be read.
std::string read_text(const std::filesystem::path& path);
// The same; UTF-16 is an error.
std::string read_utf8(const std::filesystem::path& path);
// Its lines, which end in \n, \r\n or \r, trimmed; empty ones at the end are left out. UTF-16 is an
// error.
std::vector<std::string> lines_of(const std::filesystem::path& path);

}  // namespace tapescope
