// Names that come from outside: file names, class names, whatever an annotation says.
#pragma once

#include <string>
#include <string_view>

namespace tapescope {

// `bytes` as they may be shown, and unchanged where they are harmless. Every byte that is not part
// of valid UTF-8 and every control character (C0, DEL, C1, line and paragraph separators, and what
// turns the direction of writing) becomes \xNN, one escape a byte: nothing moves a terminal's
// cursor, breaks a line or is no JSON, and two names that differ still differ.
std::string printable(std::string_view bytes);
// The same of a message of several lines, whose line breaks stay.
std::string printable_lines(std::string_view bytes);

}  // namespace tapescope
