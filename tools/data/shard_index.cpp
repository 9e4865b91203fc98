// The samples of one tar file.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "tools/data/image.h"
#include "tools/data/shards.h"
#include "tools/data/tar_index.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"

namespace tapescope {
namespace {

struct SampleName {
  std::string_view key;   // "cat/7"
  std::string extension;  // "jpg", "seg.png", in lower case
};

// Empty where the member is of no sample: hidden, `__meta__`, without a dot.
SampleName sample_name(std::string_view name) {
  while (name.starts_with("./")) name.remove_prefix(2);
  const std::size_t slash = name.rfind('/');
  const std::size_t base = slash == std::string_view::npos ? 0 : slash + 1;
  const std::size_t dot = name.find('.', base);
  if (dot == std::string_view::npos || dot == base || name.substr(base).starts_with("__")) {
    return {};
  }
  SampleName result{name.substr(0, dot), std::string(name.substr(dot + 1))};
  for (char& c : result.extension) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return result;
}

bool is_label_text(std::string_view extension) {
  return extension == "cls" || extension == "class";
}

// A sample while its members come.
struct Gathered {
  std::string key;
  const TarMember* picture = nullptr;
  const TarMember* text = nullptr;
  const TarMember* json = nullptr;
  std::string repeated;  // two members of one kind
};

void take(Gathered& sample, const SampleName& name, const TarMember& member) {
  const bool picture = has_image_extension("x." + name.extension);
  const TarMember*& place = picture                         ? sample.picture
                            : is_label_text(name.extension) ? sample.text
                                                            : sample.json;
  if (place != nullptr && sample.repeated.empty()) {
    sample.repeated = fmt::format("has both '{}' and '{}'; keep one of them",
                                  printable(place->name), printable(member.name));
  } else {
    place = &member;
  }
}

// The label that a sample's .json gives; `flaw` says why it gives none.
std::string label_in_json(const std::string& text, std::string& flaw) {
  using nlohmann::json;
  const json object = nests_too_deep(text) ? json() : json::parse(text, nullptr, false);
  if (!object.is_object()) {
    flaw = "has a .json that is no JSON object";
    return "";
  }
  for (const char* key : {"label", "class", "cls"}) {
    const auto found = object.find(key);
    if (found == object.end()) continue;
    if (found->is_string()) return found->get<std::string>();
    if (found->is_number_unsigned()) return std::to_string(found->get<std::uint64_t>());
    flaw = fmt::format("has a .json whose \"{}\" is neither a number from 0 on nor a name", key);
    return "";
  }
  flaw = "has no label: no .cls, and no \"label\" in its .json";
  return "";
}

constexpr std::size_t kLongestLabel = 256;

ShardSample sample_of(const Gathered& from) {
  ShardSample sample;
  const TarMember& member = *(from.picture != nullptr ? from.picture
                              : from.text != nullptr  ? from.text
                                                      : from.json);
  sample.name = member.name;
  sample.offset = member.offset;
  sample.bytes = member.bytes;
  sample.flaw = from.repeated;
  if (sample.flaw.empty() && from.picture == nullptr) sample.flaw = "is a label without a picture";
  if (!sample.flaw.empty()) return sample;
  if (from.text != nullptr) {
    sample.label = printable(trimmed(from.text->text));
  } else if (from.json != nullptr) {
    sample.label = printable(trimmed(label_in_json(from.json->text, sample.flaw)));
  } else {
    sample.flaw = "has no label: no .cls, and no .json with a \"label\"";
  }
  if (sample.flaw.empty() && sample.label.empty()) sample.flaw = "has an empty label";
  if (sample.label.size() > kLongestLabel) {
    sample.flaw = fmt::format("has a label of {} bytes; a class's number or name is expected",
                              sample.label.size());
  }
  if (!sample.flaw.empty()) sample.label.clear();
  return sample;
}

}  // namespace

ShardIndex index_of(const std::filesystem::path& tar) {
  ShardIndex index;
  index.stamp = stamp_of(tar);  // before: it may change meanwhile
  const TarIndex members = read_tar(tar, [](std::string_view name) {
    const std::string extension = sample_name(name).extension;
    return is_label_text(extension) || extension == "json";
  });
  index.broken = members.broken;
  std::unordered_set<std::string> keys;
  Gathered sample;
  const auto finish = [&] {
    if (sample.picture == nullptr && sample.text == nullptr && sample.json == nullptr) return;
    std::string flaw;
    if (sample.picture == nullptr && sample.text == nullptr &&
        label_in_json(sample.json->text, flaw).empty()) {  // a note of something else
      if (index.passed_over++ == 0) index.passed_over_example = sample.json->name;
      return;
    }
    index.samples.push_back(sample_of(sample));
    if (!keys.insert(sample.key).second) {
      index.samples.back().flaw = fmt::format(
          "is a second sample of the key '{}'; keys must differ, and a key's members lie together",
          printable(sample.key));
    }
  };
  for (const TarMember& member : members.members) {
    const SampleName name = sample_name(member.name);
    if (!is_label_text(name.extension) && name.extension != "json" &&
        !has_image_extension("x." + name.extension)) {
      if (index.passed_over++ == 0) index.passed_over_example = member.name;
      continue;
    }
    // As x.seg.png: a second picture of the sample, whose label is that of another task.
    if (name.extension.find('.') != std::string::npos) {
      if (index.passed_over++ == 0) index.passed_over_example = member.name;
      continue;
    }
    if (name.key != sample.key) {
      finish();
      sample = {};
      sample.key = name.key;
    }
    take(sample, name, member);
  }
  finish();
  return index;
}

}  // namespace tapescope
