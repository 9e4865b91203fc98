// YOLO: a text file per picture, as darknet began it and Ultralytics, Roboflow, CVAT and Label
// Studio write it.
#include <algorithm>
#include <cmath>
#include <set>

#include "engine/error.h"
#include "tools/detection/yolo_layout.h"
#include "tools/files/folders.h"
#include "tools/files/text.h"
#include "tools/files/text_file.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

constexpr double kRounding = 1e-5;  // of a share, as five digits or more leave it

// The last folder `images` of the path replaced by `labels`; "" where there is none.
fs::path beside_images(const fs::path& path) {
  std::vector<fs::path> parts(path.begin(), path.end());
  const auto last = std::find(parts.rbegin(), parts.rend(), fs::path("images"));
  if (last == parts.rend()) return {};
  *last = "labels";
  fs::path labels;
  for (const fs::path& part : parts) labels /= part;
  return labels;
}

// There, whatever it is; a pipe is an error when it is read.
bool is_there(const fs::path& path) {
  std::error_code impossible;
  return fs::exists(path, impossible);
}

// In `labels` where the picture is in `images`, or else beside the picture, as darknet has it.
fs::path label_file_of(const fs::path& picture) {
  fs::path beside = picture;
  beside.replace_extension(".txt");
  const fs::path usual = beside_images(beside);
  for (const fs::path& place : {usual, beside}) {
    if (place.empty()) continue;
    for (const char* ending : {".txt", ".TXT"}) {
      fs::path candidate = place;
      candidate.replace_extension(ending);
      if (is_there(candidate)) return candidate;
    }
  }
  return usual.empty() ? beside : usual;
}

std::vector<double> numbers_in(const std::string& line, const std::string& where) {
  std::vector<double> numbers;
  for (std::size_t at = 0; (at = line.find_first_not_of(" \t", at)) != std::string::npos;) {
    const std::size_t end = std::min(line.find_first_of(" \t", at), line.size());
    const std::optional<double> value = number_in(line.substr(at, end - at));
    if (!value) {
      throw usage_error("{}: '{}' is no number; a line is 'class centre-x centre-y width height'",
                        where, printable(line.substr(at, std::min<std::size_t>(end - at, 40))));
    }
    numbers.push_back(*value);
    at = end;
  }
  return numbers;
}

// Left, top, right, bottom, as shares of the picture.
struct Shares {
  double x0, y0, x1, y1;
};

Shares around_polygon(const std::vector<double>& numbers) {
  Shares box = {numbers[1], numbers[2], numbers[1], numbers[2]};
  for (std::size_t i = 1; i < numbers.size(); i += 2) {
    box.x0 = std::min(box.x0, numbers[i]);
    box.x1 = std::max(box.x1, numbers[i]);
    box.y0 = std::min(box.y0, numbers[i + 1]);
    box.y1 = std::max(box.y1, numbers[i + 1]);
  }
  return box;
}

RawObject object_of(const std::vector<double>& numbers, const YoloLayout& layout,
                    const RawImage& image, const std::string& where, Complaints& complaints) {
  if (numbers.size() < 5) {
    throw usage_error("{}: {} numbers are no box; a line is 'class centre-x centre-y width height'",
                      where, numbers.size());
  }
  const double category = numbers[0];
  if (category != std::floor(category) || category < 0 ||
      category >= static_cast<double>(layout.names.size())) {
    throw usage_error("{}: there is no class {}; '{}' names {}, counted from 0", where, category,
                      layout.named_by.string(), layout.names.size());
  }
  const bool polygon = numbers.size() > 6 && numbers.size() % 2 == 1 && !layout.keypoints;
  Shares box = {numbers[1] - numbers[3] / 2, numbers[2] - numbers[4] / 2,
                numbers[1] + numbers[3] / 2, numbers[2] + numbers[4] / 2};
  if (polygon) {
    box = around_polygon(numbers);
    complaints.add("polygons were taken as the boxes around them", where);
  } else if (numbers.size() > 6 && !layout.keypoints) {
    complaints.add("lines have more numbers than a box and its score; they were passed over",
                   where);
  }
  const bool inverted = box.x1 < box.x0 || box.y1 < box.y0;
  const auto end = polygon ? numbers.end() : numbers.begin() + 5;
  const bool outside = std::any_of(numbers.begin() + 1, end,
                                   [](double v) { return v < -kRounding || v > 1 + kRounding; });
  if (outside && !inverted) {
    complaints.add(
        "boxes have numbers outside of 0 to 1, which are shares of the picture, and "
        "were clipped",
        where);
  }
  for (double* side : {&box.x0, &box.y0, &box.x1, &box.y1}) {
    if (std::abs(*side) < kRounding) *side = 0;
    if (std::abs(*side - 1) < kRounding) *side = 1;
    if (outside && !inverted) *side = std::clamp(*side, 0.0, 1.0);
  }
  RawObject object;
  object.name = layout.names[static_cast<std::size_t>(category)];
  object.x0 = box.x0 * image.width;
  object.y0 = box.y0 * image.height;
  object.x1 = box.x1 * image.width;
  object.y1 = box.y1 * image.height;
  return object;
}

RawImage read_picture(const fs::path& picture, const YoloLayout& layout, Exif exif,
                      Complaints& complaints) {
  RawImage image;
  image.path = picture.string();
  const fs::path labels = label_file_of(picture);
  image.annotation = labels.string();
  image.shares = true;
  measure(image, exif, complaints);
  if (!image.bad.empty()) return image;
  if (!is_there(labels)) {
    complaints.add("pictures have no label file and count as pictures of nothing", image.path);
    return image;
  }
  const std::vector<std::string> lines = lines_of(labels);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    const std::string where = fmt::format("{}:{}", image.annotation, i + 1);
    image.objects.push_back(
        object_of(numbers_in(lines[i], where), layout, image, where, complaints));
    image.objects.back().line = static_cast<int>(i) + 1;
  }
  return image;
}

// Label files of the folders that were read which belong to no picture.
void count_strays(const YoloLayout& layout, const std::set<std::string>& used,
                  Complaints& complaints) {
  std::set<fs::path> folders;
  for (const auto* part : {&layout.train, &layout.validation, &layout.test}) {
    for (const fs::path& place : *part) {
      if (!is_folder(place)) continue;
      const fs::path labels = beside_images(place);
      folders.insert(is_folder(labels) ? labels : place);
    }
  }
  for (const fs::path& folder : folders) {
    for (const fs::path& file : files_below(folder)) {
      if (has_ending(file, ".txt") && file.filename() != "classes.txt" &&
          !used.contains(file.string())) {
        complaints.add("label files have no picture", file.string());
      }
    }
  }
}

RawData read(const fs::path& place, NamedFiles& files, Exif exif) {
  RawData data;
  const YoloLayout layout = yolo_layout_of(place.lexically_normal(), files, data.complaints);
  std::set<std::string> used;
  const auto read = [&](const std::vector<fs::path>& places, std::vector<RawImage>& images) {
    for (const fs::path& from : places) {
      for (const fs::path& picture : yolo_pictures_of(from, layout.folder, files)) {
        images.push_back(read_picture(picture, layout, exif, data.complaints));
        used.insert(images.back().annotation);
      }
    }
  };
  read(layout.train, data.train);
  read(layout.validation, data.validation);
  read(layout.test, data.test);
  count_strays(layout, used, data.complaints);
  data.layout = layout.name;
  data.classes = layout.names;
  if (!used.empty()) data.hint = fmt::format("; labels were looked for as '{}'", *used.begin());
  return data;
}

std::optional<RawData> read_if(bool seen, const fs::path& place, NamedFiles& files, Look look) {
  if (!seen) return std::nullopt;
  RawData data;
  data.layout = "YOLO";
  if (!look.only) data = read(place, files, look.exif);
  data.kind = "yolo";
  return data;
}

}  // namespace

std::optional<RawData> read_yolo(const Place& place, NamedFiles& files, Look look) {
  const bool yaml = is_file(place) && (has_ending(place, ".yaml") || has_ending(place, ".yml"));
  return read_if(yaml || names_yolo_classes(place), place, files, look);
}
std::optional<RawData> read_labels(const Place& place, NamedFiles& files, Look look) {
  return read_if(looks_like_yolo(place), place, files, look);
}

}  // namespace tapescope::detection
