// COCO: one JSON file a split.
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/error.h"
#include "tools/detection/annotation_formats.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Other programs leave notes of their own beside the annotations.
bool is_coco(const json& root) {
  return root.is_object() &&
         (root.contains("images") || root.contains("annotations") || root.contains("categories"));
}

// Empty where the file is of something else.
std::optional<std::vector<RawImage>> read_coco(const fs::path& path, const fs::path& folder) {
  std::ifstream file(path);
  std::vector<RawImage> images;
  try {
    const json root = json::parse(file);
    if (!is_coco(root)) return std::nullopt;
    std::map<std::int64_t, std::string> names;
    for (const json& c : root.at("categories")) names[c.at("id")] = c.at("name");
    std::map<std::int64_t, std::size_t> by_id;
    const std::string end = path.stem().string().substr(path.stem().string().rfind('_') + 1);
    for (const json& i : root.at("images")) {
      RawImage image;
      image.annotation = path.string();
      image.height = i.at("height");
      image.width = i.at("width");
      const std::string name = i.at("file_name");
      for (const fs::path& place : {folder / name, folder / "images" / name, folder / end / name,
                                    path.parent_path() / name}) {
        if (image.path.empty() && fs::exists(place)) image.path = place.string();
      }
      if (image.path.empty()) {
        throw usage_error("'{}' names the picture '{}', which is not in '{}' or '{}'",
                          path.string(), name, folder.string(), (folder / "images").string());
      }
      if (!by_id.emplace(i.at("id"), images.size()).second) {
        throw usage_error("'{}' has two images with the id {}", path.string(), i.at("id").dump());
      }
      images.push_back(std::move(image));
    }
    for (const json& a : root.at("annotations")) {
      const auto image = by_id.find(a.at("image_id"));
      const auto name = names.find(a.at("category_id"));
      if (image == by_id.end() || name == names.end()) {
        throw usage_error(
            "'{}': annotation {} is of image {} and category {}, one of which is not "
            "in the file",
            path.string(), a.value("id", 0), a.at("image_id").dump(), a.at("category_id").dump());
      }
      const json& box = a.at("bbox");
      const double x = box.at(0), y = box.at(1), w = box.at(2), h = box.at(3);
      images[image->second].objects.push_back({name->second, x, y, x + w, y + h, false,
                                               a.value("iscrowd", 0) != 0, a.value("area", -1.0)});
    }
  } catch (const json::exception& error) {
    throw usage_error("'{}' is no COCO annotation file: {}", path.string(), error.what());
  }
  return images;
}

}  // namespace

RawData read_coco_folder(const std::vector<fs::path>& files, const fs::path& folder) {
  RawData data;
  bool any = false;
  for (const fs::path& path : files) {
    const std::string name = path.stem().string();
    auto& part = name.find("val") != std::string::npos    ? data.validation
                 : name.find("test") != std::string::npos ? data.test
                                                          : data.train;
    std::optional<std::vector<RawImage>> images = read_coco(path, folder);
    if (!images) {
      data.complaints.add("JSON files are not of COCO's form and were left out", path.string());
      continue;
    }
    any = true;
    for (RawImage& image : *images) part.push_back(std::move(image));
  }
  if (!any) {
    throw usage_error(
        "'{}' is no COCO annotation file: it has neither images nor annotations nor categories",
        files.front().string());
  }
  return data;
}

}  // namespace tapescope::detection
