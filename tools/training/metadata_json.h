// What a model file says of itself, read with suspicion: it may come from anybody.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/training/safetensors.h"

namespace tapescope {

// One JSON object among a file's metadata. Every function throws a usage error that names file,
// key, value and limit where the value is not what it must be.
class ModelMetadata {
 public:
  // `key` is among the file's metadata.
  ModelMetadata(const SafetensorsFile& file, const std::string& key);
  std::string text(const char* key) const;
  std::string text(const char* key, const std::string& absent) const;
  std::int64_t whole(const char* key, std::int64_t least, std::int64_t most) const;
  // Above `above` and at most `most`.
  double number(const char* key, double above, double most) const;
  // From `least` to kMostClasses names, as they may be shown.
  std::vector<std::string> classes(std::int64_t least) const;
  // What an older file lacks.
  double share(const char* key) const;  // from 0 to 1; absent: 0
  std::uint64_t seed() const;           // absent: 0
  // `count` names or numbers as JSON text, "" for null; absent: none.
  std::vector<std::string> ids(const char* key, std::size_t count) const;

 private:
  bool has(const char* key) const;
  const nlohmann::json& at(const char* key) const;
  Error wrong(const char* key, const std::string& rule) const;
  std::string file_;
  std::shared_ptr<const nlohmann::json> object_;
};

}  // namespace tapescope
