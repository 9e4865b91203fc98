// JSON as text, whatever its strings hold.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace tapescope {

// `indent` spaces a level; below 0: one line. nlohmann's own dump() throws on a string that is not
// UTF-8, as a file name may be; here its bytes come as printable() escapes them. Control characters
// are left to JSON's own escapes.
std::string json_text(const nlohmann::ordered_json& json, int indent = -1);
std::string json_text(const nlohmann::json& json, int indent = -1);

}  // namespace tapescope
