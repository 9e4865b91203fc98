// COCO: one JSON file per split.
#include <fmt/ranges.h>

#include <cmath>

#include "engine/error.h"
#include "tools/detection/annotation_formats.h"
#include "tools/detection/coco_json.h"
#include "tools/detection/coco_layout.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Other programs leave notes of their own beside the annotations.
bool is_coco(const json& root) {
  return root.is_object() &&
         (root.contains("images") || root.contains("annotations") || root.contains("categories"));
}

// Other programs' JSON of boxes, by a key that only they write.
std::string of_another_program(const fs::path& path) {
  const std::string text = read_text(path);
  for (const auto& [key, name] :
       {std::pair("\"imagePath\"", "LabelMe"), std::pair("\"_via_", "VGG's annotator"),
        std::pair("\"annotations\"", "CreateML or the like")}) {
    if (text.find(key) != std::string::npos) {
      return fmt::format("; it looks like {}'s: export it as COCO, Pascal VOC or YOLO", name);
    }
  }
  return "";
}

// One file while it is read.
struct CocoReader {
  const CocoFile& file;
  NamedFiles& files;
  RawData& data;
  std::map<std::string, std::string> names;                         // of categories, by id
  std::map<std::string, std::size_t> images_by_id, annotations_of;  // of a category: how many

  void read(const json& root) {
    std::size_t n = 0;
    for (const json& c : list_in(root, "categories", file.path)) category(c, n++);
    auto& images = data.part(file.split);
    const std::size_t before = images.size();
    n = 0;
    for (const json& i : list_in(root, "images", file.path)) image(i, n++);
    n = 0;
    for (const json& a : list_in(root, "annotations", file.path)) annotation(a, n++);
    if (images.size() == before) {
      data.complaints.add("JSON files have no images", file.path.string());
    }
    remember_ids();
  }

  void category(const json& c, std::size_t n) {
    const Where where{file.path, fmt::format("category {} of the list", n + 1)};
    const std::string id = id_in(c, "id", where);
    const std::string name = category_name(c, id, where);
    const auto [it, is_new] = names.emplace(id, name);
    if (is_new) return;
    throw usage_error("'{}' has two categories with the id {}: '{}' and '{}'", file.path.string(),
                      id, it->second, shown(name));
  }

  void image(const json& i, std::size_t n) {
    Where where{file.path, fmt::format("image {} of the list", n + 1)};
    RawImage raw;
    raw.annotation = file.path.string();
    raw.id = id_in(i, "id", where);
    where.what = fmt::format("image {}", raw.id);
    const json& name = member(i, "file_name");
    if (!name.is_string() || name.get_ref<const std::string&>().empty()) {
      throw where.error("has {} as its 'file_name'", value_text(name));
    }
    where.what += fmt::format(" ('{}')", shown(name.get_ref<const std::string&>()));
    raw.height = extent_in(i, "height", where);
    raw.width = extent_in(i, "width", where);
    const std::string said = fmt::format("'{}'", file.path.string());
    const fs::path found = files.find(file.pictures, name.get<std::string>(), said);
    raw.path = is_file(found) ? found.string() : "";
    if (raw.path.empty()) {
      raw.bad = fmt::format("{} names the picture '{}', which is not in {}", said,
                            shown(name.get_ref<const std::string&>()), folders());
    }
    auto& images = data.part(file.split);
    if (!images_by_id.emplace(raw.id, images.size()).second) {
      throw usage_error("'{}' has two images with the id {}", file.path.string(), raw.id);
    }
    images.push_back(std::move(raw));
  }

  void annotation(const json& a, std::size_t n) {
    Where where{file.path, fmt::format("annotation {} of the list", n + 1)};
    if (!member(a, "id").is_null()) where.what = "annotation " + id_in(a, "id", where);
    const std::string of = id_in(a, "image_id", where), category = id_in(a, "category_id", where);
    const auto image = images_by_id.find(of);
    const auto name = names.find(category);
    if (image == images_by_id.end() || name == names.end()) {
      throw where.error("is of image {} and category {}, one of which is not in the file", of,
                        category);
    }
    RawImage& raw = data.part(file.split)[image->second];
    where.what +=
        fmt::format(" of image {} ('{}')", of, shown(fs::path(raw.path).filename().string()));
    const json& box = member(a, "bbox");
    const bool four =
        box.is_array() && box.size() == 4 && std::all_of(box.begin(), box.end(), [](const json& v) {
          return v.is_number() && std::abs(v.get<double>()) < 1e9;
        });
    if (!four) {
      throw where.error("has {} as its 'bbox'; it is four numbers, [x, y, width, height]",
                        value_text(box));
    }
    const double x = box[0], y = box[1];
    const json& area = member(a, "area");
    const double said = area.is_number() ? area.get<double>() : -1;
    raw.objects.push_back({name->second, x, y, x + box[2].get<double>(), y + box[3].get<double>(),
                           false, is_crowd(a, where), said});
    ++annotations_of[category];
  }

  // Files that disagree: the first is followed.
  void remember_ids() {
    for (const auto& [name, id] : ids_by_name(names, annotations_of)) {
      const auto [it, is_new] = data.category_ids.emplace(name, id);
      if (!is_new && it->second != id) {
        data.complaints.add(
            "classes have another category id in another file; the first file's is kept",
            fmt::format("'{}', {} in '{}'", name, id, file.path.string()));
      }
    }
  }

  std::string folders() const {
    std::vector<std::string> all;
    for (const fs::path& folder : file.pictures) all.push_back("'" + folder.string() + "'");
    return fmt::format("{}", fmt::join(all, " or "));
  }
};

}  // namespace

std::optional<RawData> read_coco(const Place& place, NamedFiles& files, Look look) {
  if (!is_folder(place)) return std::nullopt;
  const CocoLayout layout = coco_layout_of(place);
  if (layout.files.empty()) return std::nullopt;
  RawData data;
  data.kind = "coco";
  if (look.only) {
    data.layout = layout.files.front().layout;
    return data;
  }
  for (const CocoFile& file : layout.files) {
    const json root = read_json(file.path);
    if (!is_coco(root)) {
      data.complaints.add("JSON files are not of COCO's form and were left out",
                          file.path.string());
      continue;
    }
    if (data.layout.empty()) data.layout = file.layout;
    data.trainval = data.trainval || file.split == Split::trainval;
    CocoReader{file, files, data, {}, {}, {}}.read(root);
  }
  if (data.layout.empty()) {
    throw usage_error(
        "'{}' is no COCO annotation file: it has neither images nor annotations nor categories{}",
        layout.files.front().path.string(), of_another_program(layout.files.front().path));
  }
  if (!layout.left_out.empty()) {
    std::vector<std::string> names;
    for (const fs::path& path : layout.left_out) names.push_back(path.filename().string());
    data.notices.push_back(fmt::format("left out, since boxes are in {}: {}",
                                       layout.files.front().path.filename().string(),
                                       fmt::join(names, ", ")));
  }
  return data;
}

}  // namespace tapescope::detection
