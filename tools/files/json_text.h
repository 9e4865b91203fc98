// JSON as text, whatever its strings hold, and text that is not read as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace tapescope {

// `indent` spaces per level; below 0: one line. nlohmann's own dump() throws on a string that is
// not UTF-8, as a file name may be; here its bytes come as printable() escapes them. Control
// characters are left to JSON's own escapes.
std::string json_text(const nlohmann::ordered_json& json, int indent = -1);
std::string json_text(const nlohmann::json& json, int indent = -1);

// Whether brackets nest deeper than kMostJsonLevels, more than any file that is meant. Writing a
// value and copying it call themselves once per level: a file of nothing but brackets would
// overflow the stack where an error shows it. To be asked before other people's JSON is parsed.
constexpr int kMostJsonLevels = 100;
bool nests_too_deep(std::string_view json);

// Whether an object has more than kMostMembers: an ordered_json looks for each key among all those
// before it. To be asked before other people's JSON is parsed as one.
constexpr int kMostMembers = 1000;
bool has_huge_object(std::string_view json);

}  // namespace tapescope
