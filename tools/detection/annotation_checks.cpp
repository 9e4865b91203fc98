// What holds for annotations of every format.
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>

#include "engine/error.h"
#include "tools/data/image.h"
#include "tools/detection/annotation_formats.h"
#include "tools/files/folders.h"
#include "tools/files/text_file.h"

namespace tapescope::detection {
namespace {

std::string place_of(const RawImage& image, const RawObject& object) {
  return object.line > 0 ? fmt::format("{}:{}", image.annotation, object.line) : image.annotation;
}

// Clipped to the picture; nothing where nothing of it is left.
std::optional<Object> clipped(const RawImage& raw, const RawObject& o, const std::string& where,
                              Complaints& complaints) {
  if (o.x1 < o.x0 || o.y1 < o.y0) {
    complaints.add("boxes are inverted and were left out", where);
    return std::nullopt;
  }
  const double x0 = std::clamp<double>(o.x0, 0, raw.width);
  const double y0 = std::clamp<double>(o.y0, 0, raw.height);
  const double x1 = std::clamp<double>(o.x1, 0, raw.width);
  const double y1 = std::clamp<double>(o.y1, 0, raw.height);
  constexpr double kPixel = 0.99;  // a pixel, whatever the file's digits left of it
  if (x1 - x0 < kPixel || y1 - y0 < kPixel) {
    complaints.add("boxes have no area inside the picture and were left out", where);
    return std::nullopt;
  }
  if (x0 != o.x0 || y0 != o.y0 || x1 != o.x1 || y1 != o.y1) {
    complaints.add("boxes reach out of the picture and were clipped", where);
  }
  Object object{{x0, y0, x1 - x0, y1 - y0}, 0, o.difficult, o.crowd, o.area};
  if (object.area < 0) object.area = object.box.area();
  return object;
}

using Positions = std::map<std::string_view, int>;  // of classes, by name

std::vector<Object> objects_of(const RawImage& raw, const std::vector<std::string>& classes,
                               const Positions& positions, Complaints& complaints) {
  std::vector<Object> objects;
  std::set<std::tuple<std::string, double, double, double, double, bool>> seen;
  for (const RawObject& o : raw.objects) {
    const std::string where = fmt::format("{}: {} [{:.9g}, {:.9g}, {:.9g}, {:.9g}]",
                                          place_of(raw, o), shown(o.name), o.x0, o.y0, o.x1, o.y1);
    if (!seen.insert({o.name, o.x0, o.y0, o.x1, o.y1, o.crowd}).second) {
      complaints.add("boxes are there twice and count once", where);
      continue;
    }
    std::optional<Object> object = clipped(raw, o, where, complaints);
    if (!object) continue;
    const auto it = positions.find(o.name);
    if (it == positions.end()) {
      throw usage_error("'{}': the model does not know the class '{}'; it knows {}",
                        place_of(raw, o), shown(o.name), fmt::join(classes, ", "));
    }
    object->category = it->second;
    objects.push_back(*object);
  }
  return objects;
}

}  // namespace

std::vector<std::string> Complaints::sentences() const {
  std::vector<std::string> all;
  for (const auto& [what, entry] : entries_) {
    all.push_back(fmt::format("{} {} (the first: {})", entry.count, what, shown(entry.first)));
  }
  return all;
}

void measure(RawImage& raw, Exif exif, Complaints& complaints) {
  if (raw.measured || !raw.bad.empty()) return;
  MeasuredImage measured;
  try {
    if (!is_file(raw.path)) {
      throw usage_error("'{}' is no regular file and is not read as a picture", raw.path);
    }
    measured = measure_image(raw.path);
  } catch (const Error& error) {
    raw.bad = error.what();
    return;
  }
  raw.measured = true;
  raw.exif = exif;
  const bool applied = exif == Exif::apply;
  const ImageSize size = applied ? measured.turned : measured.stored;
  const ImageSize other = applied ? measured.stored : measured.turned;
  const auto fits = [&](const ImageSize& s) {
    return raw.height == s.height && raw.width == s.width;
  };
  if (raw.height > 0 && raw.width > 0 && !fits(size)) {
    if (!fits(other)) {
      throw usage_error("'{}' is {}x{}{}, but '{}' says {}x{}; one of them is another version",
                        raw.path, size.width, size.height,
                        measured.orientation == 1
                            ? ""
                            : fmt::format(" ({}x{} {} its EXIF orientation)", other.width,
                                          other.height, applied ? "without" : "with"),
                        raw.annotation, raw.width, raw.height);
    }
    raw.exif = applied ? Exif::ignore : Exif::apply;
    complaints.add(applied ? "annotations state the size of their picture as stored, and its EXIF "
                             "orientation is not applied"
                           : "annotations state the size of their picture turned as its EXIF "
                             "orientation says, and it is read so",
                   raw.annotation);
    return;
  }
  if (measured.orientation != 1) {
    complaints.add(applied ? "pictures have an EXIF orientation, which is applied"
                           : "pictures have an EXIF orientation, which is not applied",
                   raw.path);
  }
  if ((raw.height < 1 || raw.width < 1) && !raw.shares) {
    complaints.add("annotations say no size of their picture; it was taken from the picture",
                   raw.annotation);
  }
  raw.height = size.height;
  raw.width = size.width;
}

Image read_annotated(const AnnotatedImage& image) {
  Image picture = read_image(image.path, 3, image.exif);
  if (picture.height != image.height || picture.width != image.width) {
    throw usage_error("'{}' is {}x{}, but its annotation says {}x{}", image.path, picture.width,
                      picture.height, image.width, image.height);
  }
  return picture;
}

std::vector<AnnotatedImage> checked(std::vector<RawImage>& images,
                                    const std::vector<std::string>& classes,
                                    const std::set<std::string>& told, Complaints& complaints) {
  Complaints again;
  Positions positions;
  for (std::size_t i = 0; i < classes.size(); ++i) {
    positions.emplace(classes[i], static_cast<int>(i));  // of two of one name the first
  }
  std::vector<AnnotatedImage> all;
  for (RawImage& raw : images) {
    if (!raw.bad.empty()) continue;
    all.push_back(
        {raw.path, raw.height, raw.width,
         objects_of(raw, classes, positions, told.contains(raw.path) ? again : complaints), raw.id,
         raw.exif, raw.content});
  }
  return all;
}

}  // namespace tapescope::detection
