#include "tools/detection/coco_ids.h"

#include <algorithm>

#include "engine/error.h"
#include "tools/detection/coco_json.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<fs::path> json_files(const fs::path& place) {
  std::error_code error;
  if (fs::is_regular_file(place, error)) return {place};
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator it(place, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with('.') || it.depth() > 1) {
      it.disable_recursion_pending();
      if (name.starts_with('.')) continue;
    }
    if (it->path().extension() == ".json" && it->is_regular_file(error)) {
      files.push_back(it->path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::map<std::string, std::string> categories_in(const json& root, const fs::path& file) {
  std::map<std::string, std::string> names;  // by id
  for (const json& category : list_in(root, "categories", file)) {
    const Where where{file, fmt::format("category {} of the list", names.size() + 1)};
    const std::string id = id_in(category, "id", where);
    names.emplace(id, category_name(category, id, where));
  }
  std::map<std::string, std::size_t> annotations_of;
  std::size_t n = 0;
  for (const json& annotation : member(root, "annotations")) {
    const Where where{file, fmt::format("annotation {} of the list", ++n)};
    if (member(annotation, "category_id").is_null()) continue;
    ++annotations_of[id_in(annotation, "category_id", where)];
  }
  return ids_by_name(names, annotations_of);
}

// `path` ends with the parts of `name`.
bool ends_with(const fs::path& path, const fs::path& name) {
  const std::vector<fs::path> whole(path.begin(), path.end()), end(name.begin(), name.end());
  return end.size() <= whole.size() && std::equal(end.rbegin(), end.rend(), whole.rbegin());
}

}  // namespace

CocoIds::CocoIds(const fs::path& place, const std::vector<std::string>& classes)
    : place_(place.string()) {
  std::map<std::string, std::string> categories;
  for (const fs::path& file : json_files(place)) {
    json root;
    try {
      root = read_json(file);
    } catch (const Error&) {  // other programs leave files of their own beside these
      if (file == place) throw;
      continue;
    }
    // Captions have no categories.
    if (!root.is_object() || !root.contains("images") || !root.contains("categories")) continue;
    for (const auto& [name, id] : categories_in(root, file)) {
      const auto [known, is_new] = categories.emplace(name, id);
      if (is_new || known->second == id) continue;
      throw usage_error("'{}' gives the category '{}' the id {}, another file in '{}' gives {}",
                        printable(file.string()), name, id, printable(place_), known->second);
    }
    std::size_t n = 0;
    for (const json& image : list_in(root, "images", file)) {
      const Where where{file, fmt::format("image {} of the list", ++n)};
      const std::string id = id_in(image, "id", where);
      const json& name = member(image, "file_name");
      if (!name.is_string()) throw where.error("has {} as its 'file_name'", value_text(name));
      images_.emplace(fs::path(name.get<std::string>()).filename().string(),
                      Entry{id, name.get<std::string>(), file});
    }
  }
  if (images_.empty()) {
    throw usage_error(
        "--data '{}' has no COCO file (JSON with images and categories), whose ids --format coco "
        "could give; without --data it writes ids and names of its own",
        printable(place_));
  }
  for (const std::string& name : classes) {
    const auto found = categories.find(printable(trimmed(name)));
    if (found == categories.end()) {
      throw usage_error("--data '{}' has no category '{}', a class of this model",
                        printable(place_), printable(name));
    }
    categories_.push_back(found->second);
  }
}

std::string CocoIds::category(int category) const {
  return categories_.empty() ? std::to_string(category + 1)
                             : categories_[static_cast<std::size_t>(category)];
}

std::string CocoIds::image(const std::string& path) {
  if (place_.empty()) {
    const auto next = static_cast<std::int64_t>(counted_.size()) + 1;
    return std::to_string(counted_.emplace(path, next).first->second);
  }
  std::error_code error;
  const fs::path canonical = fs::weakly_canonical(path, error);
  const auto [first, last] = images_.equal_range(canonical.filename().string());
  // Pictures of one name in several folders are told apart by the rest of the name, or else by the
  // folder of the file that lists them.
  std::vector<std::string> ids[3];
  for (auto it = first; it != last; ++it) {
    const Entry& entry = it->second;
    const bool same_end = ends_with(canonical, fs::path(entry.file_name).lexically_normal());
    const fs::path folder = fs::weakly_canonical(entry.json, error).parent_path();
    const bool beside = fs::equivalent(folder / entry.file_name, canonical, error) ||
                        canonical.parent_path().filename() == folder.filename() ||
                        entry.json.stem().string().find(
                            canonical.parent_path().filename().string()) != std::string::npos;
    std::vector<std::string>& list = ids[same_end && beside ? 0 : same_end ? 1 : 2];
    if (std::find(list.begin(), list.end(), entry.id) == list.end()) list.push_back(entry.id);
  }
  for (const std::vector<std::string>& list : ids) {
    if (list.size() == 1) return list[0];
    if (list.size() > 1) {
      throw usage_error("--data '{}' has several images called '{}', and '{}' may be any of them",
                        printable(place_), printable(canonical.filename().string()),
                        printable(path));
    }
  }
  throw usage_error("--data '{}' has no image '{}'; give its own pictures, or leave --data away",
                    printable(place_), printable(path));
}

}  // namespace tapescope::detection
