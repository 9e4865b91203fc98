#include "tools/detection/yolo_layout.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "engine/error.h"
#include "tools/data/image.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;
using Layout = YoloLayout;

std::vector<fs::path> sorted(std::vector<fs::path> paths) {
  std::sort(paths.begin(), paths.end());
  return paths;
}

bool hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> found;
  if (!fs::is_directory(folder)) return found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory() && !hidden(entry.path())) found.push_back(entry.path());
  }
  return sorted(found);
}

// Pictures in a folder and all that is below it.
std::vector<fs::path> pictures_in(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && has_image_extension(entry.path()) && !hidden(entry.path())) {
      found.push_back(entry.path());
    }
  }
  return sorted(found);
}

std::optional<fs::path> first_of(const std::vector<fs::path>& candidates) {
  for (const fs::path& path : candidates) {
    if (fs::exists(path)) return path;
  }
  return std::nullopt;
}

std::optional<fs::path> yaml_of(const fs::path& folder) {
  if (const auto usual = first_of({folder / "data.yaml", folder / "data.yml"})) return usual;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const fs::path extension = entry.path().extension();
    if (extension == ".yaml" || extension == ".yml") found.push_back(entry.path());
  }
  if (found.size() == 1) return found[0];
  return std::nullopt;
}

std::optional<fs::path> names_file_of(const fs::path& folder) {
  return first_of({folder / "classes.txt", folder / "obj.names", folder / "labels/classes.txt",
                   folder / "train/labels/classes.txt"});
}

// --- data.yaml ---------------------------------------------------------------------------------
std::vector<std::string> names_in(const YAML::Node& node, const fs::path& yaml) {
  std::map<int, std::string> by_number;
  if (node.IsSequence()) {
    for (const YAML::Node& name : node) {
      by_number.emplace(static_cast<int>(by_number.size()), name.as<std::string>());
    }
  } else if (node.IsMap()) {
    for (const auto& entry : node) {
      by_number[entry.first.as<int>()] = entry.second.as<std::string>();
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
                  const fs::path& yaml) {
  fs::path inner;
  for (const fs::path& part : fs::path(entry)) {
    if (!inner.empty() || part != "..") inner /= part;
  }
  const fs::path own = yaml.parent_path();
  if (const auto found = first_of({base / entry, own / entry, base / inner, own / inner})) {
    return found->lexically_normal();
  }
  throw usage_error(
      "'{}': '{}' names '{}', which is neither in '{}' nor beside this file; mend the line or "
      "leave it out",
      yaml.string(), key, entry, base.string());
}

void read_yaml(const fs::path& yaml, Layout& layout, fs::path& base) {
  try {
    const YAML::Node root = YAML::LoadFile(yaml.string());
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
    if (const YAML::Node path = root["path"]; path && !path.IsNull()) {
      base = yaml.parent_path() / path.as<std::string>();
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
        layout.part(key)->push_back(place_of(entry, key, base, yaml));
      }
    }
  } catch (const YAML::Exception& error) {
    throw usage_error("'{}' cannot be understood: {}", yaml.string(), error.what());
  }
}

// --- folders without data.yaml -----------------------------------------------------------------
void look_for_splits(const fs::path& folder, Layout& layout, Complaints& complaints) {
  for (const char* list : {"train.txt", "val.txt", "valid.txt", "test.txt"}) {
    if (fs::exists(folder / list)) layout.part(list)->push_back(folder / list);
  }
  if (layout.splits()) return;
  const fs::path images = folder / "images";
  for (const fs::path& inside : folders_in(images)) {
    if (auto* part = layout.part(inside.filename().string())) part->push_back(inside);
  }
  for (const fs::path& split : folders_in(folder)) {
    auto* part = layout.part(split.filename().string());
    if (part != nullptr && fs::is_directory(split / "images")) part->push_back(split / "images");
  }
  if (!layout.splits()) {
    layout.train.push_back(fs::is_directory(images) ? images : folder);
    return;
  }
  if (!fs::is_directory(images)) return;
  for (const fs::path& picture : pictures_in(images)) {
    const fs::path inside = picture.lexically_relative(images);
    if (layout.part(inside.begin()->string()) == nullptr || !inside.has_parent_path()) {
      complaints.add("pictures lie beside train, val and test and were left out", picture.string());
    }
  }
}

}  // namespace

YoloLayout yolo_layout_of(const fs::path& place, Complaints& complaints) {
  const bool is_yaml = !fs::is_directory(place);
  fs::path folder = is_yaml ? place.parent_path() : place;
  Layout layout;
  const std::optional<fs::path> yaml = is_yaml ? place : yaml_of(place);
  if (yaml) {
    fs::path base = folder;
    read_yaml(*yaml, layout, base);
    if (fs::is_directory(base)) folder = base;
  }
  if (!layout.splits()) look_for_splits(folder, layout, complaints);
  if (layout.named_by.empty()) {
    const std::optional<fs::path> file = names_file_of(folder);
    if (!file) {
      throw usage_error(
          "'{}' does not say what its classes are called; write a data.yaml with 'names: [cat, "
          "dog]', or a classes.txt with a name a line",
          place.string());
    }
    layout.named_by = *file;
    layout.names = lines_of(*file);
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

// The pictures of a folder or a list. Lists are written from their own folder, or from the one
// above a folder `data` that has since been given another name.
std::vector<fs::path> yolo_pictures_of(const fs::path& place) {
  if (fs::is_directory(place)) return pictures_in(place);
  std::vector<fs::path> pictures;
  const std::vector<std::string> lines = lines_of(place);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    const fs::path listed = lines[i], own = place.parent_path();
    std::vector<fs::path> candidates = {own / listed};
    if (lines[i].starts_with("data/")) candidates.push_back(own / lines[i].substr(5));
    const auto found = first_of(candidates);
    if (!found) {
      throw usage_error("{}:{}: the picture '{}' does not exist in '{}'", place.string(), i + 1,
                        lines[i], own.string());
    }
    pictures.push_back(found->lexically_normal());
  }
  return pictures;
}

// The lines of a file without blanks around them; what is empty at the end goes.
std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream file(path);
  if (!file || fs::is_directory(path)) {
    throw usage_error("'{}' cannot be read; check its permissions", path.string());
  }
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find_first_not_of(" \t\r");
    const std::size_t last = line.find_last_not_of(" \t\r");
    lines.push_back(first == std::string::npos ? "" : line.substr(first, last - first + 1));
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

bool names_yolo_classes(const fs::path& folder) {
  return first_of({folder / "data.yaml", folder / "data.yml"}) || names_file_of(folder);
}

bool looks_like_yolo(const fs::path& folder) {
  if (yaml_of(folder) || fs::is_directory(folder / "labels")) return true;
  const std::vector<fs::path> inside = folders_in(folder);
  return std::any_of(inside.begin(), inside.end(),
                     [](const fs::path& split) { return fs::is_directory(split / "labels"); });
}

}  // namespace tapescope::detection
