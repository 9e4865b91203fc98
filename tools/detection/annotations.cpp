#include "tools/detection/annotations.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>
#include <set>

#include "engine/error.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What was wrong with boxes, counted.
class Complaints {
 public:
  void add(const std::string& what, const std::string& where) {
    Entry& entry = entries_[what];
    if (entry.count++ == 0) entry.first = where;
  }
  std::vector<std::string> sentences() const {
    std::vector<std::string> all;
    for (const auto& [what, entry] : entries_) {
      all.push_back(fmt::format("{} {} (the first: {})", entry.count, what, entry.first));
    }
    return all;
  }

 private:
  struct Entry {
    int count = 0;
    std::string first;
  };
  std::map<std::string, Entry> entries_;
};

struct RawObject {
  std::string name;
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  bool difficult = false, crowd = false;
  double area = -1;
};
struct RawImage {
  std::string path, annotation;
  int height = 0, width = 0;
  std::vector<RawObject> objects;
};

void keep(const RawImage& raw, const std::vector<std::string>& classes, Complaints& complaints,
          std::vector<AnnotatedImage>& images) {
  AnnotatedImage image{raw.path, raw.height, raw.width, {}};
  for (const RawObject& o : raw.objects) {
    const std::string where =
        fmt::format("{}: {} [{}, {}, {}, {}]", raw.annotation, o.name, o.x0, o.y0, o.x1, o.y1);
    if (o.x1 < o.x0 || o.y1 < o.y0) {
      complaints.add("boxes are inverted and were left out", where);
      continue;
    }
    const double x0 = std::clamp<double>(o.x0, 0, raw.width);
    const double y0 = std::clamp<double>(o.y0, 0, raw.height);
    const double x1 = std::clamp<double>(o.x1, 0, raw.width);
    const double y1 = std::clamp<double>(o.y1, 0, raw.height);
    if (x1 - x0 < 1 || y1 - y0 < 1) {
      complaints.add("boxes have no area inside the picture and were left out", where);
      continue;
    }
    if (x0 != o.x0 || y0 != o.y0 || x1 != o.x1 || y1 != o.y1) {
      complaints.add("boxes reach out of the picture and were clipped", where);
    }
    const auto it = std::find(classes.begin(), classes.end(), o.name);
    if (it == classes.end()) {
      throw usage_error("'{}': the model does not know the class '{}'; it knows {}", raw.annotation,
                        o.name, fmt::join(classes, ", "));
    }
    Object object{{x0, y0, x1 - x0, y1 - y0},
                  static_cast<int>(it - classes.begin()),
                  o.difficult,
                  o.crowd,
                  o.area};
    if (object.area < 0) object.area = object.box.area();
    image.objects.push_back(object);
  }
  images.push_back(std::move(image));
}

// --- Pascal VOC ------------------------------------------------------------------------------
double number(const pugi::xml_node& node, const char* child, const fs::path& path) {
  const pugi::xml_node found = node.child(child);
  char* end = nullptr;
  const std::string text = found.child_value();
  const double value = std::strtod(text.c_str(), &end);
  if (!found || end == text.c_str()) {
    throw usage_error("'{}' has no number in <{}> of <{}>", path.string(), child, node.name());
  }
  return value;
}

RawImage read_voc(const fs::path& path, const fs::path& pictures) {
  pugi::xml_document document;
  if (const auto result = document.load_file(path.c_str()); !result) {
    throw usage_error("'{}' cannot be read as XML: {}", path.string(), result.description());
  }
  const pugi::xml_node root = document.child("annotation");
  if (!root) throw usage_error("'{}' has no <annotation>: it is no VOC file", path.string());
  RawImage image;
  image.annotation = path.string();
  const pugi::xml_node size = root.child("size");
  if (!size) {
    throw usage_error("'{}' has no <size>: boxes cannot be checked without it", path.string());
  }
  image.height = static_cast<int>(number(size, "height", path));
  image.width = static_cast<int>(number(size, "width", path));
  if (image.height < 1 || image.width < 1) {
    throw usage_error("'{}' says its picture is {}x{}", path.string(), image.width, image.height);
  }
  std::string file = root.child("filename").child_value();
  // <filename> lies often enough; the picture of the same name is the one that is meant.
  for (const std::string& candidate :
       {file, path.stem().string() + ".jpg", path.stem().string() + ".png",
        path.stem().string() + ".jpeg"}) {
    if (!candidate.empty() && fs::exists(pictures / candidate)) {
      image.path = (pictures / candidate).string();
      break;
    }
  }
  if (image.path.empty()) {
    throw usage_error("'{}' names the picture '{}', which is not in '{}'", path.string(), file,
                      pictures.string());
  }
  for (const pugi::xml_node& object : root.children("object")) {
    const pugi::xml_node box = object.child("bndbox");
    RawObject raw;
    raw.name = object.child("name").child_value();
    if (raw.name.empty() || !box) {
      throw usage_error("'{}' has an <object> without <name> or <bndbox>", path.string());
    }
    raw.x0 = number(box, "xmin", path) - 1;
    raw.y0 = number(box, "ymin", path) - 1;
    raw.x1 = number(box, "xmax", path);
    raw.y1 = number(box, "ymax", path);
    // 0 is written by tools that count from 0.
    raw.x0 = raw.x0 == -1 ? 0 : raw.x0;
    raw.y0 = raw.y0 == -1 ? 0 : raw.y0;
    if (raw.x1 == raw.x0 + 1 && raw.y1 == raw.y0 + 1) raw.x1 = raw.x0;  // a point is no box
    raw.difficult = std::string(object.child("difficult").child_value()) == "1";
    image.objects.push_back(std::move(raw));
  }
  return image;
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream file(path);
  std::vector<std::string> words;
  for (std::string line; std::getline(file, line);) {
    const std::string word = line.substr(0, line.find_first_of(" \t\r"));
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

struct RawSplits {
  std::vector<RawImage> train, validation, test;
};

RawSplits read_voc_folder(const fs::path& folder) {
  RawSplits splits;
  const fs::path annotations = folder / "Annotations", sets = folder / "ImageSets" / "Main";
  const fs::path pictures =
      fs::is_directory(folder / "JPEGImages") ? folder / "JPEGImages" : annotations;
  const std::pair<const char*, std::vector<RawImage>*> parts[] = {
      {"train.txt", &splits.train}, {"val.txt", &splits.validation}, {"test.txt", &splits.test}};
  bool listed = false;
  for (const auto& [name, images] : parts) {
    if (!fs::exists(sets / name)) continue;
    listed = true;
    for (const std::string& stem : lines_of(sets / name)) {
      const fs::path path = annotations / (stem + ".xml");
      if (!fs::exists(path)) {
        throw usage_error("'{}' lists '{}', but '{}' does not exist", (sets / name).string(), stem,
                          path.string());
      }
      images->push_back(read_voc(path, pictures));
    }
  }
  if (listed) return splits;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(annotations)) {
    if (entry.path().extension() == ".xml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& path : files) splits.train.push_back(read_voc(path, pictures));
  return splits;
}

// --- COCO --------------------------------------------------------------------------------------
std::vector<RawImage> read_coco(const fs::path& path, const fs::path& folder) {
  std::ifstream file(path);
  std::vector<RawImage> images;
  try {
    const json root = json::parse(file);
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
      by_id[i.at("id")] = images.size();
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

RawSplits read_coco_folder(const std::vector<fs::path>& files, const fs::path& folder) {
  RawSplits splits;
  for (const fs::path& path : files) {
    const std::string name = path.stem().string();
    auto& part = name.find("val") != std::string::npos    ? splits.validation
                 : name.find("test") != std::string::npos ? splits.test
                                                          : splits.train;
    for (RawImage& image : read_coco(path, folder)) part.push_back(std::move(image));
  }
  return splits;
}

}  // namespace

DetectionData open_detection_data(const fs::path& folder, std::vector<std::string> classes) {
  if (!fs::is_directory(folder)) {
    throw usage_error("--data '{}' is no folder", folder.string());
  }
  DetectionData data;
  RawSplits raw;
  std::vector<fs::path> files;
  for (const fs::path& place : {folder, folder / "annotations"}) {
    if (!fs::is_directory(place)) continue;
    for (const auto& entry : fs::directory_iterator(place)) {
      if (entry.path().extension() == ".json") files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  if (fs::is_directory(folder / "Annotations")) {
    data.kind = "voc";
    raw = read_voc_folder(folder);
  } else if (!files.empty()) {
    data.kind = "coco";
    raw = read_coco_folder(files, folder);
  } else {
    throw usage_error(
        "'{}' holds no annotated pictures: neither Annotations/*.xml (Pascal VOC) nor *.json "
        "(COCO)",
        folder.string());
  }
  std::set<std::string> found;
  for (const auto* part : {&raw.train, &raw.validation, &raw.test}) {
    for (const RawImage& image : *part) {
      for (const RawObject& object : image.objects) found.insert(object.name);
    }
  }
  if (found.empty()) {
    throw usage_error("'{}' has {} pictures but not one object", folder.string(),
                      raw.train.size() + raw.validation.size() + raw.test.size());
  }
  data.classes = classes.empty() ? std::vector<std::string>(found.begin(), found.end()) : classes;
  Complaints complaints;
  for (const RawImage& image : raw.train) keep(image, data.classes, complaints, data.train);
  for (const RawImage& image : raw.validation) {
    keep(image, data.classes, complaints, data.validation);
  }
  for (const RawImage& image : raw.test) keep(image, data.classes, complaints, data.test);
  data.notices = complaints.sentences();
  return data;
}

}  // namespace tapescope::detection
