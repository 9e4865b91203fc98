#include "tools/files/json_text.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "tools/files/text.h"

namespace tapescope {
namespace {

template <class Json>
Json with_printable_strings(const Json& json) {
  if (json.is_string()) return printable(json.template get_ref<const std::string&>());
  if (json.is_array()) {
    Json list = Json::array();
    for (const Json& entry : json) list.push_back(with_printable_strings(entry));
    return list;
  }
  if (json.is_object()) {
    Json object = Json::object();
    for (const auto& [key, value] : json.items()) {
      object[printable(key)] = with_printable_strings(value);
    }
    return object;
  }
  return json;
}

template <class Json>
std::string text_of(const Json& json, int indent) {
  try {
    return json.dump(indent);
  } catch (const typename Json::type_error&) {  // a string that is not UTF-8: rare
    return with_printable_strings(json).dump(indent);
  }
}

// Whether `found` holds for a character outside of strings; it is asked in order.
template <class Found>
bool any_sign(std::string_view json, Found found) {
  bool quoted = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    if (quoted && json[i] == '\\') {
      ++i;
    } else if (json[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && found(json[i])) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string json_text(const nlohmann::ordered_json& json, int indent) {
  return text_of(json, indent);
}
std::string json_text(const nlohmann::json& json, int indent) { return text_of(json, indent); }

bool nests_too_deep(std::string_view json) {
  int level = 0;
  return any_sign(json, [&](char c) {
    level += c == '[' || c == '{' ? 1 : c == ']' || c == '}' ? -1 : 0;
    return level > kMostJsonLevels;
  });
}

bool has_huge_object(std::string_view json) {
  std::vector<int> members;  // of every array and object that is open
  return any_sign(json, [&](char c) {
    if (c == '[' || c == '{') members.push_back(0);
    if ((c == ']' || c == '}') && !members.empty()) members.pop_back();
    return c == ':' && !members.empty() && ++members.back() > kMostMembers;
  });
}

}  // namespace tapescope
