// Names that come from outside: file names, class names, whatever an annotation says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tapescope {

// `bytes` as they may be shown, and unchanged where they are harmless. Every byte that is not part
// of valid UTF-8 and every control character (C0, DEL, C1, line and paragraph separators, and what
// turns the direction of writing) becomes \xNN, one escape a byte: nothing moves a terminal's
// cursor, breaks a line or is no JSON, and two names that differ still differ.
std::string printable(std::string_view bytes);
// The same of a message of several lines, whose line breaks stay.
std::string printable_lines(std::string_view bytes);

// "a,b" -> a and b; "" is one empty word.
std::vector<std::string> comma_separated(const std::string& text);

// Characters of UTF-8 text, and the text with blanks behind it up to `width` of them.
std::size_t characters(const std::string& text);
std::string padded(const std::string& text, std::size_t width);
// The end of a longer text behind "...", which is `width` characters then: of a path what tells
// most.
std::string shortened(const std::string& text, std::size_t width);
// What a word for so many things ends with: "1 picture", "2 pictures".
inline const char* plural(std::int64_t count) { return count == 1 ? "" : "s"; }
// Names with commas between them; of more than 100 the first two and the last.
std::string listed(const std::vector<std::string>& names);
// Ascending numbers, {0, 1, 2, 5}: "0-2,5".
std::string ranges_text(const std::vector<int>& numbers);

}  // namespace tapescope
