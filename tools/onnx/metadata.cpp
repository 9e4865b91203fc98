#include "tools/onnx/metadata.h"

#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"

namespace tapescope::onnx {
namespace {

// A Python dict from numbers to names, as Ultralytics writes it: {0: 'cat', 1: "dog's"}. Empty
// where it is none.
std::vector<std::string> python_names(const std::string& text) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char quote = text[i];
    if (quote != '\'' && quote != '"') continue;
    std::string name;
    for (++i; i < text.size() && text[i] != quote; ++i) {
      if (text[i] == '\\' && i + 1 < text.size()) ++i;
      name += text[i];
    }
    if (i == text.size() || names.size() == (1u << 20)) return {};
    names.push_back(std::move(name));
  }
  return names;
}

template <class T>
std::vector<T> json_list(const std::string& text) {
  try {
    return nlohmann::json::parse(text).get<std::vector<T>>();
  } catch (const nlohmann::json::exception&) {
    return {};
  }
}

}  // namespace

Metadata metadata_of(const std::map<std::string, std::string>& entries) {
  Metadata said;
  const auto entry = [&](const char* key) {
    const auto at = entries.find(key);
    return at == entries.end() ? std::string() : at->second;
  };
  said.task = entry("task");
  said.license = entry("license");
  said.classes = json_list<std::string>(entry("classes"));
  said.mean = json_list<double>(entry("mean"));
  said.std = json_list<double>(entry("std"));
  if (const std::vector<std::string> names = python_names(entry("names")); !names.empty()) {
    said.classes = names;
    said.mean = {0};
    said.std = {1};
  }
  if (const std::vector<double> size = json_list<double>(entry("imgsz"));
      size.size() == 2 && size[0] == size[1] && size[0] >= 1 && size[0] <= 65536) {
    said.image_size = static_cast<std::int64_t>(size[0]);
  }
  return said;
}

std::vector<double> numbers_in(const std::string& option, const std::string& text) {
  std::vector<double> numbers;
  for (const std::string& part : comma_separated(text)) {
    const std::optional<double> number = number_in(part);
    if (!number || numbers.size() == 4) {
      throw usage_error("{} is '{}'; it is one number, or one per channel: 0.485,0.456,0.406",
                        option, shown(text));
    }
    numbers.push_back(*number);
  }
  return numbers;
}

}  // namespace tapescope::onnx
