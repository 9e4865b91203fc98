#include "tools/detection/coco_json.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Python's json module writes NaN and Infinity, which JSON does not have: null in their place, so
// that whose number it was can be said.
std::string without_nan(std::string_view text) {
  std::string out;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    if (text[i] == '"') quoted = !quoted;
    if (quoted && text[i] == '\\' && rest.size() > 1) {
      out += rest.substr(0, 2);
      ++i;
      continue;
    }
    std::string_view odd;
    for (const std::string_view word : {"-Infinity", "Infinity", "NaN"}) {
      if (!quoted && rest.starts_with(word)) odd = word;
    }
    if (odd.empty()) {
      out += text[i];
    } else {
      out += "null";
      i += odd.size() - 1;
    }
  }
  return out;
}

}  // namespace

json read_json(const fs::path& path) {
  const std::string text = read_utf8(path);
  if (nests_too_deep(text)) {
    throw usage_error("'{}' is no COCO annotation file: its values nest more than {} levels deep",
                      path.string(), kMostJsonLevels);
  }
  json root = json::parse(text, nullptr, false);
  if (root.is_discarded()) root = json::parse(without_nan(text), nullptr, false);
  if (!root.is_discarded()) return root;
  try {
    return json::parse(text);
  } catch (const json::parse_error& error) {
    const auto end = static_cast<std::ptrdiff_t>(std::min(error.byte, text.size()));
    throw usage_error("'{}' is no COCO annotation file: it is no JSON from line {} on",
                      path.string(), 1 + std::count(text.begin(), text.begin() + end, '\n'));
  } catch (const json::exception&) {
    throw usage_error("'{}' is no COCO annotation file: one of its numbers is beyond 1e308",
                      path.string());
  }
}

const json& member(const json& object, const char* key) {
  static const json kNone;
  if (!object.is_object()) return kNone;
  const auto it = object.find(key);
  return it == object.end() ? kNone : *it;
}

std::string value_text(const json& value) {
  return value.is_null() ? "nothing" : shown(json_text(value));
}

std::string id_in(const json& entry, const char* key, const Where& where) {
  const json& id = member(entry, key);
  if (id.is_number_integer() || (id.is_string() && !id.get_ref<const std::string&>().empty())) {
    return json_text(id);
  }
  if (id.is_number_float()) {
    const double value = id.get<double>();
    if (value == std::floor(value) && std::abs(value) < 1e15) {
      return std::to_string(static_cast<std::int64_t>(value));
    }
  }
  throw where.error("has {} as its '{}'; it is a whole number or a text", value_text(id), key);
}

std::string category_name(const json& category, const std::string& id, const Where& where) {
  const json& name = member(category, "name");
  if (!name.is_string() || trimmed(name.get_ref<const std::string&>()).empty()) {
    throw where.error("(id {}) has {} as its name; every class has a name", id, value_text(name));
  }
  return printable(trimmed(name.get_ref<const std::string&>()));
}

std::map<std::string, std::string> ids_by_name(
    const std::map<std::string, std::string>& names,
    const std::map<std::string, std::size_t>& annotations_of) {
  const auto annotations = [&](const std::string& id) {
    const auto it = annotations_of.find(id);
    return it == annotations_of.end() ? 0 : it->second;
  };
  std::map<std::string, std::string> best;
  for (const auto& [id, name] : names) {
    const auto [it, is_new] = best.emplace(name, id);
    if (!is_new && annotations(id) > annotations(it->second)) it->second = id;
  }
  return best;
}

int extent_in(const json& image, const char* key, const Where& where) {
  const json& value = member(image, key);
  if (value.is_null()) return 0;
  const double extent = value.is_number() ? value.get<double>() : -1;
  if (!(extent >= 0 && extent <= std::numeric_limits<int>::max()) || extent != std::floor(extent)) {
    throw where.error("has the {} {}; it is a whole number of pixels", key, value_text(value));
  }
  return static_cast<int>(extent);
}

bool is_crowd(const json& annotation, const Where& where) {
  const json& value = member(annotation, "iscrowd");
  if (value.is_null()) return false;
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value.get<double>() != 0;
  throw where.error("has {} as 'iscrowd'; it is 0 or 1", value_text(value));
}

const json& list_in(const json& root, const char* key, const fs::path& path) {
  const json& list = member(root, key);
  if (list.is_array()) return list;
  throw usage_error("'{}' is no COCO annotation file: it has no list '{}'", path.string(), key);
}

}  // namespace tapescope::detection
