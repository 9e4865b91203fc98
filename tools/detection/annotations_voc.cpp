// Pascal VOC: an XML file a picture.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <pugixml.hpp>

#include "engine/error.h"
#include "tools/detection/annotation_formats.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

double number(const pugi::xml_node& node, const char* child, const fs::path& path) {
  const pugi::xml_node found = node.child(child);
  char* end = nullptr;
  const std::string text = found.child_value();
  const double value = std::strtod(text.c_str(), &end);
  if (!found || end == text.c_str() || !(std::abs(value) < 1e9)) {
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

}  // namespace

RawData read_voc_folder(const fs::path& folder) {
  RawData data;
  const fs::path annotations = folder / "Annotations", sets = folder / "ImageSets" / "Main";
  const fs::path pictures =
      fs::is_directory(folder / "JPEGImages") ? folder / "JPEGImages" : annotations;
  const std::pair<const char*, std::vector<RawImage>*> parts[] = {
      {"train.txt", &data.train}, {"val.txt", &data.validation}, {"test.txt", &data.test}};
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
  if (listed) return data;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(annotations)) {
    if (entry.path().extension() == ".xml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& path : files) data.train.push_back(read_voc(path, pictures));
  return data;
}

}  // namespace tapescope::detection
