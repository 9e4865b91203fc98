#include "tools/detection/yolo_layout.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "engine/error.h"
#include "tools/data/image.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

// Pictures in a folder and all that is below it.
std::vector<fs::path> pictures_in(const fs::path& folder) {
  std::vector<fs::path> found = files_below(folder);
  std::erase_if(found, [](const fs::path& path) { return !has_image_extension(path); });
  return found;
}

std::optional<fs::path> first_of(const std::vector<fs::path>& candidates) {
  const auto it = std::find_if(candidates.begin(), candidates.end(), is_file);
  if (it == candidates.end()) return std::nullopt;
  return *it;
}

std::optional<fs::path> yaml_of(const fs::path& folder) {
  if (const auto usual = first_of({folder / "data.yaml", folder / "data.yml"})) return usual;
  std::vector<fs::path> found = files_in(folder, ".yaml");
  for (const fs::path& path : files_in(folder, ".yml")) found.push_back(path);
  if (found.size() == 1) return found[0];
  return std::nullopt;
}

std::optional<fs::path> names_file_of(const fs::path& folder) {
  return first_of({folder / "classes.txt", folder / "obj.names", folder / "labels/classes.txt",
                   folder / "train/labels/classes.txt"});
}

// --- data.yaml ---------------------------------------------------------------------------------
std::string class_name(const YAML::Node& node) {
  return printable(trimmed(node.as<std::string>()));
}

std::vector<std::string> names_in(const YAML::Node& node, const fs::path& yaml) {
  std::map<int, std::string> by_number;
  if (node.IsSequence()) {
    for (const YAML::Node& name : node) {
      by_number.emplace(static_cast<int>(by_number.size()), class_name(name));
    }
  } else if (node.IsMap()) {
    for (const auto& entry : node) {
      if (!by_number.emplace(entry.first.as<int>(), class_name(entry.second)).second) {
        throw usage_error("'{}': 'names' has the class {} twice", yaml.string(),
                          entry.first.as<int>());
      }
    }
  } else {
    throw usage_error("'{}': 'names' is neither a list nor a map of number: name", yaml.string());
  }
  std::vector<std::string> names;
  for (const auto& [number, name] : by_number) {
    if (number != static_cast<int>(names.size())) {
      throw usage_error("'{}': 'names' has a class {} but no class {}; they count from 0",
                        yaml.string(), number, names.size());
    }
    names.push_back(name);
  }
  return names;
}

// Where an entry lies: from `path`, or else from the YAML file's own folder, where what was
// downloaded has been moved to. Some writers count that folder itself as one of the "../".
fs::path place_of(const std::string& entry, const std::string& key, const fs::path& base,
                  const fs::path& yaml, NamedFiles& files) {
  fs::path inner;
  for (const fs::path& part : fs::path(entry)) {
    if (!inner.empty() || part != "..") inner /= part;
  }
  std::vector<fs::path> bases = {yaml.parent_path()};
  if (is_folder(base)) bases.insert(bases.begin(), base);
  const fs::path found = files.find(bases, entry, fmt::format("'{}': '{}'", yaml.string(), key),
                                    inner == entry ? "" : inner.string());
  if (!found.empty()) return found;
  throw usage_error(
      "'{}': '{}' names '{}', which is neither in '{}' nor beside this file; mend the line or "
      "leave it out",
      yaml.string(), key, shown(entry), shown(base.string()));
}

void read_map(const YAML::Node& root, const fs::path& yaml, YoloLayout& layout, NamedFiles& files) {
  if (!root.IsMap()) {
    throw usage_error("'{}' is no map of keys (path, train, val, test, names)", yaml.string());
  }
  if (const YAML::Node names = root["names"]; names && !names.IsNull()) {
    layout.names = names_in(names, yaml);
    layout.named_by = yaml;
  }
  if (const YAML::Node count = root["nc"];
      count && !layout.names.empty() && count.as<std::size_t>() != layout.names.size()) {
    throw usage_error("'{}' names {} classes, but its 'nc' is {}; one of them is wrong",
                      yaml.string(), layout.names.size(), count.as<std::size_t>());
  }
  layout.keypoints = static_cast<bool>(root["kpt_shape"]);
  fs::path base = layout.folder;
  if (const YAML::Node path = root["path"]; path && !path.IsNull()) {
    base = (yaml.parent_path() / path.as<std::string>()).lexically_normal();
    if (is_folder(base)) {
      files.allow(base);
      layout.folder = base;
    }
  }
  for (const char* key : {"train", "val", "validation", "test"}) {
    const YAML::Node node = root[key];
    if (!node || node.IsNull()) continue;
    std::vector<std::string> entries;
    if (node.IsSequence()) {
      for (const YAML::Node& entry : node) entries.push_back(entry.as<std::string>());
    } else {
      entries.push_back(node.as<std::string>());
    }
    for (const std::string& entry : entries) {
      layout.part(key)->push_back(place_of(std::string(trimmed(entry)), key, base, yaml, files));
    }
  }
}

void read_yaml(const fs::path& yaml, YoloLayout& layout, NamedFiles& files) {
  try {
    read_map(YAML::Load(read_text(yaml)), yaml, layout, files);
  } catch (const YAML::Exception& error) {
    throw usage_error("'{}' cannot be understood{}: {}", yaml.string(),
                      error.mark.is_null() ? "" : fmt::format(" in line {}", error.mark.line + 1),
                      shown(error.msg));
  }
}

// --- folders without data.yaml -----------------------------------------------------------------
void look_for_splits(const fs::path& folder, YoloLayout& layout, Complaints& complaints) {
  for (const fs::path& list : files_in(folder, ".txt")) {
    const std::string stem = list.stem().string();
    auto* part = words_in(stem).size() == 1 ? layout.part(stem) : nullptr;
    if (part != nullptr) part->push_back(list);
  }
  layout.name = "YOLO, lists of pictures";
  if (layout.splits()) return;
  layout.name = "YOLO, a folder per split";
  const fs::path images = child_of(folder, "images");
  for (const fs::path& inside : folders_in(images)) {
    if (auto* part = layout.part(inside.filename().string())) part->push_back(inside);
  }
  for (const fs::path& split : folders_in(folder)) {
    auto* part = layout.part(split.filename().string());
    const fs::path pictures = child_of(split, "images");
    if (part != nullptr && is_folder(pictures)) part->push_back(pictures);
  }
  if (!layout.splits()) {
    layout.name = "YOLO, one folder of pictures";
    layout.train.push_back(is_folder(images) ? images : folder);
    return;
  }
  if (!is_folder(images)) return;
  for (const fs::path& picture : pictures_in(images)) {
    const fs::path inside = picture.lexically_relative(images);
    if (layout.part(inside.begin()->string()) == nullptr || !inside.has_parent_path()) {
      complaints.add("pictures lie beside train, val and test and were left out", picture.string());
    }
  }
}

}  // namespace

YoloLayout yolo_layout_of(const fs::path& place, NamedFiles& files, Complaints& complaints) {
  const bool is_yaml = !is_folder(place);
  YoloLayout layout;
  layout.folder = is_yaml ? place.parent_path() : place;
  if (layout.folder.empty()) layout.folder = ".";
  const std::optional<fs::path> yaml = is_yaml ? place : yaml_of(place);
  layout.name = "YOLO, as its data.yaml says";
  if (yaml) read_yaml(*yaml, layout, files);
  if (!layout.splits()) look_for_splits(layout.folder, layout, complaints);
  if (layout.named_by.empty()) {
    const std::optional<fs::path> file = names_file_of(layout.folder);
    if (!file) {
      throw usage_error(
          "'{}' does not say what its classes are called; write a data.yaml with 'names: [cat, "
          "dog]', or a classes.txt with a name per line",
          place.string());
    }
    layout.named_by = *file;
    for (const std::string& line : lines_of(*file)) layout.names.push_back(printable(line));
  }
  std::set<std::string> once;
  for (const std::string& name : layout.names) {
    if (name.empty() || !once.insert(name).second) {
      throw usage_error("'{}': class {} is {}; every class has a name of its own",
                        layout.named_by.string(), &name - layout.names.data(),
                        name.empty() ? "empty" : fmt::format("a second '{}'", name));
    }
  }
  if (once.empty()) throw usage_error("'{}' names no class", layout.named_by.string());
  return layout;
}

// The pictures of a folder or a list. Lists are written from their own folder, from the data's, or
// from the one above a folder `data` that has since been given another name.
std::vector<fs::path> yolo_pictures_of(const fs::path& place, const fs::path& folder,
                                       NamedFiles& files) {
  if (is_folder(place)) return pictures_in(place);
  std::vector<fs::path> pictures;
  const std::vector<std::string> lines = lines_of(place);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    const std::string where = fmt::format("{}:{}", place.string(), i + 1);
    // Any file may be called a list: nothing of one that is none is shown.
    if (!has_image_extension(lines[i])) {
      throw usage_error("{}: is no name of a picture; a list has a picture's path a line", where);
    }
    const fs::path own = place.parent_path();
    const std::string inner = lines[i].starts_with("data/") ? lines[i].substr(5) : "";
    const fs::path found = files.find({own, folder}, lines[i], where, inner);
    if (!is_file(found)) {
      throw usage_error("{}: the picture '{}' does not exist in '{}'", where, shown(lines[i]),
                        own.string());
    }
    pictures.push_back(found);
  }
  return pictures;
}

bool names_yolo_classes(const fs::path& folder) {
  return first_of({folder / "data.yaml", folder / "data.yml"}) || names_file_of(folder);
}

bool looks_like_yolo(const fs::path& folder) {
  if (yaml_of(folder) || is_folder(child_of(folder, "labels"))) return true;
  const std::vector<fs::path> inside = folders_in(folder);
  return std::any_of(inside.begin(), inside.end(), [](const fs::path& split) {
    return split_in(split.filename().string()) != Split::none &&
           is_folder(child_of(split, "labels"));
  });
}

}  // namespace tapescope::detection
