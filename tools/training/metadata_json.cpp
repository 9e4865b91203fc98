#include "tools/training/metadata_json.h"

#include <nlohmann/json.hpp>

#include "layers/models/zoo.h"
#include "tools/files/json_number.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"

namespace tapescope {

ModelMetadata::ModelMetadata(const SafetensorsFile& file, const std::string& key)
    : file_(printable(file.path().string())) {
  const std::string& text = file.metadata().at(key);
  if (nests_too_deep(text)) {
    throw usage_error("'{}' has damaged metadata: {} nests more than {} levels deep", file_, key,
                      kMostJsonLevels);
  }
  try {
    object_ = std::make_shared<nlohmann::json>(nlohmann::json::parse(text));
  } catch (const nlohmann::json::exception& error) {
    throw usage_error("'{}' has damaged metadata: {} is no JSON ({})", file_, key,
                      printable(std::string(error.what()).substr(0, 300)));
  }
  if (!object_->is_object()) {
    throw usage_error("'{}' has damaged metadata: {} is no JSON object", file_, key);
  }
}

Error ModelMetadata::wrong(const char* key, const std::string& rule) const {
  std::string value = printable(json_text(object_->at(key)));
  if (value.size() > 80) value = value.substr(0, 80) + "...";
  return usage_error("'{}' has damaged metadata: {} is {}; it must be {}", file_, key, value, rule);
}

bool ModelMetadata::has(const char* key) const { return object_->contains(key); }

const nlohmann::json& ModelMetadata::at(const char* key) const {
  if (!has(key)) {
    throw usage_error("'{}' has damaged metadata: it has no {}", file_, key);
  }
  return object_->at(key);
}

std::string ModelMetadata::text(const char* key) const {
  constexpr std::size_t kMost = 100;
  if (!at(key).is_string() || at(key).get_ref<const std::string&>().size() > kMost) {
    throw wrong(key, fmt::format("a text of at most {} bytes", kMost));
  }
  return at(key).get<std::string>();
}

std::string ModelMetadata::text(const char* key, const std::string& absent) const {
  return has(key) ? text(key) : absent;
}

std::int64_t ModelMetadata::whole(const char* key, std::int64_t least, std::int64_t most) const {
  const std::optional<std::int64_t> number = whole_in<std::int64_t>(at(key));
  if (!number || *number < least || *number > most) {
    throw wrong(key, fmt::format("a whole number from {} to {}", least, most));
  }
  return *number;
}

double ModelMetadata::number(const char* key, double above, double most) const {
  const nlohmann::json& value = at(key);
  if (!value.is_number() || !(value.get<double>() > above) || !(value.get<double>() <= most)) {
    throw wrong(key, fmt::format("a number above {} and at most {}", above, most));
  }
  return value.get<double>();
}

std::vector<std::string> ModelMetadata::classes(std::int64_t least) const {
  const nlohmann::json& list = at("classes");
  const std::string rule = fmt::format("a list of {} to {} names", least, kMostClasses);
  if (!list.is_array() || list.size() < static_cast<std::size_t>(least) ||
      list.size() > static_cast<std::size_t>(kMostClasses)) {
    throw wrong("classes", rule);
  }
  std::vector<std::string> names;
  for (const nlohmann::json& name : list) {
    if (!name.is_string()) throw wrong("classes", rule);
    names.push_back(printable(name.get<std::string>()));
  }
  return names;
}

double ModelMetadata::share(const char* key) const {
  if (!has(key)) return 0;
  const nlohmann::json& value = at(key);
  if (!value.is_number() || !(value.get<double>() >= 0) || !(value.get<double>() <= 1)) {
    throw wrong(key, "a number from 0 to 1");
  }
  return value.get<double>();
}

std::vector<std::string> ModelMetadata::ids(const char* key, std::size_t count) const {
  std::vector<std::string> ids;
  if (!has(key)) return ids;
  const std::string rule = fmt::format("a list of {} names, numbers or nulls", count);
  if (!at(key).is_array() || at(key).size() != count) throw wrong(key, rule);
  for (const nlohmann::json& id : at(key)) {
    if (!id.is_null() && !id.is_number_integer() && !id.is_string()) throw wrong(key, rule);
    ids.push_back(id.is_null() ? "" : json_text(id));
  }
  return ids;
}

std::uint64_t ModelMetadata::seed() const {
  if (!has("seed")) return 0;
  if (!at("seed").is_number_unsigned()) throw wrong("seed", "a whole number from 0");
  return at("seed").get<std::uint64_t>();
}

}  // namespace tapescope
