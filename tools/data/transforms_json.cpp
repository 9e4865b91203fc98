// A Pipeline as text and back.
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tools/data/overloaded.h"
#include "tools/data/transforms.h"
#include "tools/files/json_number.h"
#include "tools/files/json_text.h"

namespace tapescope {
namespace {

using nlohmann::json;
using Ordered = nlohmann::ordered_json;

Ordered to_object(const Transform& transform) {
  return std::visit(
      Overloaded{[](const Resize& t) {
                   Ordered object =
                       t.height == 0 ? Ordered{{"type", "Resize"}, {"size", t.short_side}}
                                     : Ordered{{"type", "Resize"}, {"size", {t.height, t.width}}};
                   if (t.interpolation != Interpolation::bilinear) {
                     object["interpolation"] = name_of(t.interpolation);
                   }
                   return object;
                 },
                 [](const CenterCrop& t) {
                   return Ordered{{"type", "CenterCrop"}, {"size", {t.height, t.width}}};
                 },
                 [](const RandomCrop& t) {
                   return Ordered{{"type", "RandomCrop"},
                                  {"size", {t.height, t.width}},
                                  {"padding", t.padding}};
                 },
                 [](const RandomHorizontalFlip& t) {
                   return Ordered{{"type", "RandomHorizontalFlip"}, {"p", t.probability}};
                 },
                 [](const RandomResizedCrop& t) {
                   return Ordered{{"type", "RandomResizedCrop"},
                                  {"size", {t.height, t.width}},
                                  {"scale", {t.smallest_area, t.largest_area}},
                                  {"ratio", {t.smallest_ratio, t.largest_ratio}}};
                 },
                 [](const ToTensor&) {
                   return Ordered{{"type", "ToTensor"}};
                 },
                 [](const Normalize& t) {
                   return Ordered{{"type", "Normalize"}, {"mean", t.mean}, {"std", t.std}};
                 }},
      transform);
}

template <class T>
T number_of(const json& entry, const json& value) {
  if constexpr (std::is_integral_v<T>) {
    if (const std::optional<T> number = whole_in<T>(value)) return *number;
    throw usage_error("the transform {} needs a whole number in place of {}", entry.dump(),
                      value.dump());
  }
  return value.get<T>();
}

template <class T>
std::vector<T> numbers(const json& entry, const char* key, std::size_t count) {
  if (!entry.contains(key)) throw usage_error("the transform {} lacks \"{}\"", entry.dump(), key);
  const json& value = entry[key];
  std::vector<T> out;
  for (const json& number : value.is_array() ? value : json::array({value})) {
    if (!number.is_number()) {
      throw usage_error("the transform {} needs a number or a list as \"{}\"", entry.dump(), key);
    }
    out.push_back(number_of<T>(entry, number));
  }
  if (count != 0 && out.size() == 1) out.assign(count, out.front());
  if (count != 0 && out.size() != count) {
    throw usage_error("the transform {} needs {} numbers as \"{}\"", entry.dump(), count, key);
  }
  return out;
}

RandomResizedCrop resized_crop(const json& entry) {
  const auto size = numbers<int>(entry, "size", 2);
  RandomResizedCrop crop{.height = size[0], .width = size[1]};
  if (entry.contains("scale")) {
    const auto scale = numbers<double>(entry, "scale", 2);
    crop.smallest_area = scale[0];
    crop.largest_area = scale[1];
  }
  if (entry.contains("ratio")) {
    const auto ratio = numbers<double>(entry, "ratio", 2);
    crop.smallest_ratio = ratio[0];
    crop.largest_ratio = ratio[1];
  }
  return crop;
}

Transform from_object(const json& entry) {
  if (!entry.is_object() || !entry.contains("type") || !entry["type"].is_string()) {
    throw usage_error(
        "a transform is an object with a \"type\", as in {{\"type\":\"ToTensor\"}}, not {}",
        entry.dump());
  }
  const std::string type = entry["type"].get<std::string>();
  const auto known = [&](std::initializer_list<const char*> keys) {
    for (const auto& item : entry.items()) {
      bool found = item.key() == "type";
      for (const char* key : keys) found = found || item.key() == key;
      if (!found)
        throw usage_error("the transform {} has an unknown \"{}\"", entry.dump(), item.key());
    }
  };
  if (type == "Resize") {
    known({"size", "interpolation"});
    const Interpolation interpolation = entry.contains("interpolation")
                                            ? interpolation_from(entry["interpolation"])
                                            : Interpolation::bilinear;
    if (entry.contains("size") && entry["size"].is_number()) {
      return Resize{.short_side = number_of<int>(entry, entry["size"]),
                    .interpolation = interpolation};
    }
    const auto size = numbers<int>(entry, "size", 2);
    return Resize{.height = size[0], .width = size[1], .interpolation = interpolation};
  }
  if (type == "CenterCrop") {
    known({"size"});
    const auto size = numbers<int>(entry, "size", 2);
    return CenterCrop{size[0], size[1]};
  }
  if (type == "RandomCrop") {
    known({"size", "padding"});
    const auto size = numbers<int>(entry, "size", 2);
    const int padding = entry.contains("padding") ? number_of<int>(entry, entry["padding"]) : 0;
    return RandomCrop{size[0], size[1], padding};
  }
  if (type == "RandomHorizontalFlip") {
    known({"p"});
    return RandomHorizontalFlip{entry.value("p", 0.5)};
  }
  if (type == "RandomResizedCrop") {
    known({"size", "scale", "ratio"});
    return resized_crop(entry);
  }
  if (type == "ToTensor") {
    known({});
    return ToTensor{};
  }
  if (type == "Normalize") {
    known({"mean", "std"});
    return Normalize{numbers<double>(entry, "mean", 0), numbers<double>(entry, "std", 0)};
  }
  throw usage_error(
      "\"{}\" is no transform; known are Resize, CenterCrop, RandomCrop, RandomHorizontalFlip, "
      "RandomResizedCrop, ToTensor and Normalize",
      type);
}

}  // namespace

std::string to_string(const Transform& transform) { return to_object(transform).dump(); }

std::string Pipeline::to_json() const {
  Ordered list = Ordered::array();
  for (const Transform& transform : transforms_) list.push_back(to_object(transform));
  return list.dump();
}

Pipeline Pipeline::from_json(const std::string& text) {
  if (nests_too_deep(text)) {
    throw usage_error("the transforms nest more than {} levels deep; correct the entry",
                      kMostJsonLevels);
  }
  std::vector<Transform> transforms;
  const json list = json::parse(text, nullptr, false);
  if (list.is_discarded()) {
    throw usage_error(
        "the transforms {} are no JSON; a list is expected, as in "
        "[{{\"type\":\"ToTensor\"}}]",
        text);
  }
  try {
    if (!list.is_array()) {
      throw usage_error(
          "a list of transforms is expected, as in [{{\"type\":\"ToTensor\"}}], not: {}", text);
    }
    for (const json& entry : list) transforms.push_back(from_object(entry));
  } catch (const json::exception&) {
    throw usage_error("the transforms {} have a value of another kind than it must be", text);
  }
  return Pipeline(std::move(transforms));
}

}  // namespace tapescope
