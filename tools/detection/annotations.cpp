#include "tools/detection/annotations.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "engine/error.h"
#include "tools/data/image.h"
#include "tools/detection/annotation_formats.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

std::string place_of(const RawImage& image, const RawObject& object) {
  return object.line > 0 ? fmt::format("{}:{}", image.annotation, object.line) : image.annotation;
}

// Boxes are meant in pixels of the size that is annotated: it has to be the picture's, turned as
// its EXIF orientation says or not.
void measure(RawImage& raw, Exif exif, Complaints& complaints) {
  if (raw.measured) return;
  raw.exif = exif;
  const auto fits = [&](const ImageSize& size) {
    return raw.height == size.height && raw.width == size.width;
  };
  if (raw.height >= 1 && raw.width >= 1) {
    const Exif other = exif == Exif::apply ? Exif::ignore : Exif::apply;
    const MeasuredImage measured = measure_image(raw.path);
    const ImageSize size = exif == Exif::apply ? measured.turned : measured.stored;
    const ImageSize turned = exif == Exif::apply ? measured.stored : measured.turned;
    if (!fits(size) && fits(turned)) {
      raw.exif = other;
      complaints.add(other == Exif::apply
                         ? "annotations state the size of their picture turned as its EXIF "
                           "orientation says, and it is read so"
                         : "annotations state the size of their picture as stored, and its EXIF "
                           "orientation is not applied",
                     raw.annotation);
      return;
    }
    if (!fits(size)) {
      throw usage_error("'{}' is {}x{}{}, but '{}' says {}x{}; one of them is another version",
                        raw.path, size.width, size.height,
                        size.width == turned.width
                            ? ""
                            : fmt::format(" ({}x{} {} its EXIF orientation)", turned.width,
                                          turned.height, other == Exif::apply ? "with" : "without"),
                        raw.annotation, raw.width, raw.height);
    }
  }
  const ImageSize size = measured_size(raw.path, exif, complaints);
  if (raw.height < 1 || raw.width < 1) {
    complaints.add("annotations say no size of their picture; it was taken from the picture",
                   raw.annotation);
    raw.height = size.height;
    raw.width = size.width;
  }
}

// Numbers the classes; clips the boxes to their pictures or leaves them out.
std::vector<AnnotatedImage> checked(std::vector<RawImage>& images,
                                    const std::vector<std::string>& classes, Exif exif,
                                    Complaints& complaints) {
  std::vector<AnnotatedImage> all;
  for (RawImage& raw : images) {
    measure(raw, exif, complaints);
    AnnotatedImage image{raw.path, raw.height, raw.width, {}, raw.exif};
    for (const RawObject& o : raw.objects) {
      const std::string where = fmt::format("{}: {} [{:.9g}, {:.9g}, {:.9g}, {:.9g}]",
                                            place_of(raw, o), o.name, o.x0, o.y0, o.x1, o.y1);
      if (o.x1 < o.x0 || o.y1 < o.y0) {
        complaints.add("boxes are inverted and were left out", where);
        continue;
      }
      const double x0 = std::clamp<double>(o.x0, 0, raw.width);
      const double y0 = std::clamp<double>(o.y0, 0, raw.height);
      const double x1 = std::clamp<double>(o.x1, 0, raw.width);
      const double y1 = std::clamp<double>(o.y1, 0, raw.height);
      constexpr double kPixel = 0.99;  // a pixel, whatever the file's digits left of it
      if (x1 - x0 < kPixel || y1 - y0 < kPixel) {
        complaints.add("boxes have no area inside the picture and were left out", where);
        continue;
      }
      if (x0 != o.x0 || y0 != o.y0 || x1 != o.x1 || y1 != o.y1) {
        complaints.add("boxes reach out of the picture and were clipped", where);
      }
      const auto it = std::find(classes.begin(), classes.end(), o.name);
      if (it == classes.end()) {
        throw usage_error("'{}': the model does not know the class '{}'; it knows {}",
                          place_of(raw, o), o.name, fmt::join(classes, ", "));
      }
      Object object{{x0, y0, x1 - x0, y1 - y0},
                    static_cast<int>(it - classes.begin()),
                    o.difficult,
                    o.crowd,
                    o.area};
      if (object.area < 0) object.area = object.box.area();
      image.objects.push_back(object);
    }
    all.push_back(std::move(image));
  }
  return all;
}

std::vector<fs::path> json_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::path& place : {folder, folder / "annotations"}) {
    if (!fs::is_directory(place)) continue;
    for (const auto& entry : fs::directory_iterator(place)) {
      if (entry.path().extension() == ".json") files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> classes_of(const RawData& raw) {
  if (!raw.classes.empty()) return raw.classes;
  std::set<std::string> found;
  for (const auto* part : {&raw.train, &raw.validation, &raw.test}) {
    for (const RawImage& image : *part) {
      for (const RawObject& object : image.objects) found.insert(object.name);
    }
  }
  return {found.begin(), found.end()};
}

}  // namespace

std::vector<std::string> Complaints::sentences() const {
  std::vector<std::string> all;
  for (const auto& [what, entry] : entries_) {
    all.push_back(fmt::format("{} {} (the first: {})", entry.count, what, entry.first));
  }
  return all;
}

ImageSize measured_size(const std::string& picture, Exif exif, Complaints& complaints) {
  const MeasuredImage measured = measure_image(picture);
  if (measured.orientation != 1) {
    complaints.add(exif == Exif::apply ? "pictures have an EXIF orientation, which is applied"
                                       : "pictures have an EXIF orientation, which is not applied",
                   picture);
  }
  return exif == Exif::apply ? measured.turned : measured.stored;
}

Image read_annotated(const AnnotatedImage& image) {
  Image picture = read_image(image.path, 3, image.exif);
  if (picture.height != image.height || picture.width != image.width) {
    throw usage_error("'{}' is {}x{}, but its annotation says {}x{}", image.path, picture.width,
                      picture.height, image.width, image.height);
  }
  return picture;
}

DetectionData open_detection_data(const fs::path& place, std::vector<std::string> classes,
                                  Exif exif) {
  std::error_code impossible;  // a name that is too long is no file either
  const bool yaml = fs::is_regular_file(place, impossible) &&
                    (place.extension() == ".yaml" || place.extension() == ".yml");
  if (!yaml && !fs::is_directory(place, impossible)) {
    throw usage_error("--data '{}' is neither a folder nor a .yaml file", place.string());
  }
  DetectionData data;
  RawData raw;
  // A folder may hold more than one form, as COCO beside its conversion to YOLO's does, or YOLO's
  // beside a .json of some program's notes: what names classes for YOLO's numbers is for nothing
  // else.
  if (!yaml && fs::is_directory(place / "Annotations")) {
    data.kind = "voc";
    raw = read_voc_folder(place);
  } else if (yaml || names_yolo_classes(place)) {
    data.kind = "yolo";
    raw = read_yolo(place, exif);
  } else if (const std::vector<fs::path> files = json_files(place); !files.empty()) {
    data.kind = "coco";
    raw = read_coco_folder(files, place);
  } else if (looks_like_yolo(place)) {
    data.kind = "yolo";
    raw = read_yolo(place, exif);
  } else {
    throw usage_error(
        "'{}' holds no annotated pictures: neither Annotations/*.xml (Pascal VOC) nor *.json "
        "(COCO) nor data.yaml or classes.txt with labels/*.txt (YOLO)",
        place.string());
  }
  data.classes = classes.empty() ? classes_of(raw) : std::move(classes);
  data.train = checked(raw.train, data.classes, exif, raw.complaints);
  data.validation = checked(raw.validation, data.classes, exif, raw.complaints);
  data.test = checked(raw.test, data.classes, exif, raw.complaints);
  data.notices = raw.complaints.sentences();
  std::size_t pictures = 0, objects = 0;
  for (const auto* part : {&data.train, &data.validation, &data.test}) {
    pictures += part->size();
    for (const AnnotatedImage& image : *part) objects += image.objects.size();
  }
  if (objects == 0) {
    throw usage_error("'{}' has {} pictures but not one object to learn{}{}{}", place.string(),
                      pictures, raw.hint, data.notices.empty() ? "" : "; ",
                      fmt::join(data.notices, "; "));
  }
  return data;
}

}  // namespace tapescope::detection
