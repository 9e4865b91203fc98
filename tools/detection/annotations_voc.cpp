// Pascal VOC: an XML file per picture.
#include <cmath>
#include <limits>
#include <pugixml.hpp>

#include "engine/error.h"
#include "tools/data/image.h"
#include "tools/detection/voc_layout.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

std::string text_in(const pugi::xml_node& node, const char* child) {
  return std::string(trimmed(node.child(child).child_value()));
}

// `of`: whose number it is, for people.
double number(const pugi::xml_node& node, const char* child, const std::string& of,
              const fs::path& path) {
  const std::string text = text_in(node, child);
  const std::optional<double> value = number_in(text);
  if (!value || std::abs(*value) >= 1e9) {
    throw usage_error("'{}' has no number in <{}> of {}{}", path.string(), child, of,
                      text.empty() ? "" : fmt::format(": '{}'", shown(text)));
  }
  return *value;
}

// 0 where none is said.
int extent(const pugi::xml_node& size, const char* child, const fs::path& path) {
  if (text_in(size, child).empty()) return 0;
  const double value = number(size, child, "<size>", path);
  if (value < 0 || value != std::floor(value)) {
    throw usage_error("'{}' has <{}> {} of <size>; a picture has a whole number of pixels",
                      path.string(), child, value);
  }
  return static_cast<int>(value);
}

// The picture of the XML's own name is the one that is meant: <filename> lies often enough.
fs::path picture_of(const fs::path& xml, const std::string& filename, const VocSet& set,
                    NamedFiles& files, Complaints& complaints) {
  std::string last = filename;  // without its folders, a Windows program's too
  last = last.substr(last.find_last_of("/\\") + 1);
  const std::string stem = xml.stem().string(), named = fs::path(last).stem().string();
  fs::path own = files.picture_of(set.pictures, stem, last);
  if (own.empty() && has_image_extension(stem)) {  // a.jpg.xml
    own = files.find(set.pictures, stem, xml.string());
  }
  const bool differs = !last.empty() && named != stem && last != stem;
  if (!own.empty()) {
    if (differs) {
      complaints.add(
          "annotations have another name in <filename>; the picture of their own was "
          "taken",
          fmt::format("{}: {}", xml.string(), shown(last)));
    }
    return own;
  }
  if (last.empty()) return {};
  const std::string where = fmt::format("'{}'", xml.string());
  fs::path found = files.find(set.pictures, last, where);
  if (!is_file(found)) found = files.picture_of(set.pictures, last, last);  // without its ending
  if (!is_file(found)) found = files.picture_of(set.pictures, named, last);
  if (!is_file(found)) found = files.find(set.pictures, filename, where);
  if (!found.empty()) {
    complaints.add("annotations have no picture of their own name; the one in <filename> was taken",
                   fmt::format("{}: {}", xml.string(), shown(last)));
  }
  return found;
}

bool is_flagged(const pugi::xml_node& object, const std::string& where, Complaints& complaints) {
  const std::string text = text_in(object, "difficult");
  if (text.empty()) return false;
  const std::optional<double> value = number_in(text);
  if (!value)
    complaints.add("objects say neither 0 nor 1 in <difficult>, which counts as 0", where);
  return value.value_or(0) != 0;
}

void read_object(const pugi::xml_node& object, int position, const fs::path& path, RawImage& image,
                 Complaints& complaints) {
  RawObject raw;
  raw.name = printable(text_in(object, "name"));
  if (raw.name.empty() || !object.child("bndbox")) {
    throw usage_error("'{}' has an <object> without <name> or <bndbox>, its {}{}", path.string(),
                      position,
                      position == 1   ? "st"
                      : position == 2 ? "nd"
                      : position == 3 ? "rd"
                                      : "th");
  }
  const std::string of = fmt::format("object {}, '{}'", position, shown(raw.name));
  raw.difficult = is_flagged(object, fmt::format("{}: {}", path.string(), of), complaints);
  for (const pugi::xml_node& box : object.children("bndbox")) {
    raw.x0 = number(box, "xmin", of, path) - 1;
    raw.y0 = number(box, "ymin", of, path) - 1;
    raw.x1 = number(box, "xmax", of, path);
    raw.y1 = number(box, "ymax", of, path);
    // 0 is written by tools that count from 0.
    raw.x0 = raw.x0 == -1 ? 0 : raw.x0;
    raw.y0 = raw.y0 == -1 ? 0 : raw.y0;
    if (raw.x1 == raw.x0 + 1 && raw.y1 == raw.y0 + 1) raw.x1 = raw.x0;  // a point is no box
    image.objects.push_back(raw);
  }
}

RawImage read_file(const fs::path& path, const VocSet& set, NamedFiles& files,
                   Complaints& complaints) {
  const std::string text = read_text(path);
  pugi::xml_document document;
  if (const auto result = document.load_buffer(text.data(), text.size()); !result) {
    throw usage_error("'{}' cannot be read as XML: {}", path.string(), result.description());
  }
  const pugi::xml_node root = document.child("annotation");
  if (!root) throw usage_error("'{}' has no <annotation>: it is no VOC file", path.string());
  RawImage image;
  image.annotation = path.string();
  if (const pugi::xml_node size = root.child("size")) {
    image.height = extent(size, "height", path);
    image.width = extent(size, "width", path);
  }
  const std::string filename = text_in(root, "filename");
  image.path = picture_of(path, filename, set, files, complaints).string();
  if (image.path.empty()) {
    image.bad = fmt::format("'{}' names the picture '{}', which is not in '{}'", path.string(),
                            filename.empty() ? path.stem().string() : shown(filename),
                            set.pictures.front().string());
  }
  int position = 0;
  for (const pugi::xml_node& object : root.children("object")) {
    read_object(object, ++position, path, image, complaints);
  }
  return image;
}

std::optional<RawData> read(const fs::path& folder, bool own, NamedFiles& files, Look look) {
  if (!is_folder(folder)) return std::nullopt;
  RawData data;
  const std::optional<VocLayout> layout = voc_layout_of(folder, own, files, data.complaints);
  if (!layout) return std::nullopt;
  data.kind = "voc";
  data.layout = layout->name;
  if (look.only) return data;
  for (const VocSet& set : layout->sets) {
    data.trainval = data.trainval || set.split == Split::trainval;
    for (const fs::path& file : set.files) {
      data.part(set.split).push_back(read_file(file, set, files, data.complaints));
    }
  }
  return data;
}

}  // namespace

std::optional<RawData> read_voc(const fs::path& place, NamedFiles& files, Look look) {
  return read(place, true, files, look);
}
std::optional<RawData> read_xml(const fs::path& place, NamedFiles& files, Look look) {
  return read(place, false, files, look);
}

}  // namespace tapescope::detection
