// Members of COCO's JSON, with errors that say whose they are.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/error.h"

namespace tapescope::detection {

// The whole file. Python's NaN and Infinity, which JSON does not have, are read as null. Throws a
// usage error that names the file, and the line where there is one.
nlohmann::json read_json(const std::filesystem::path& path);

// One entry of a file, for people.
struct Where {
  const std::filesystem::path& path;
  std::string what;  // "annotation 4"
  template <class... Args>
  Error error(fmt::format_string<Args...> text, Args&&... args) const {
    return usage_error("'{}': {} {}", path.string(), what,
                       fmt::format(text, std::forward<Args>(args)...));
  }
};

// Null where there is none.
const nlohmann::json& member(const nlohmann::json& object, const char* key);
// A usage error where there is none.
const nlohmann::json& list_in(const nlohmann::json& root, const char* key,
                              const std::filesystem::path& path);
// A value as it may stand in a sentence.
std::string value_text(const nlohmann::json& value);
// A whole number or a string, as JSON text; 7.0, as some table programs write it, is 7.
std::string id_in(const nlohmann::json& entry, const char* key, const Where& where);
// A category's name as classes have it, trimmed and printable.
std::string category_name(const nlohmann::json& category, const std::string& id,
                          const Where& where);
// Categories by name, from their names by id: of two of one name, as Roboflow writes the data set's
// own beside the class, the id that has more annotations.
std::map<std::string, std::string> ids_by_name(
    const std::map<std::string, std::string>& names,
    const std::map<std::string, std::size_t>& annotations_of);
// Pixels of a picture; 0 where none are said.
int extent_in(const nlohmann::json& image, const char* key, const Where& where);
bool is_crowd(const nlohmann::json& annotation, const Where& where);

}  // namespace tapescope::detection
