// YOLO: a text file a picture, as darknet began it and Ultralytics, Roboflow, CVAT and Label Studio
// write it.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "engine/error.h"
#include "tools/data/image.h"
#include "tools/detection/yolo_layout.h"

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

// In `labels` where the picture is in `images`, or else beside the picture, as darknet has it.
fs::path label_file_of(const fs::path& picture) {
  fs::path beside = picture;
  beside.replace_extension(".txt");
  const fs::path usual = beside_images(beside);
  return usual.empty() || (!fs::exists(usual) && fs::exists(beside)) ? beside : usual;
}

std::vector<double> numbers_in(const std::string& line, const std::string& where) {
  std::vector<double> numbers;
  for (std::size_t at = 0; (at = line.find_first_not_of(" \t", at)) != std::string::npos;) {
    const std::size_t end = std::min(line.find_first_of(" \t", at), line.size());
    double value = 0;
    const auto [stop, error] = std::from_chars(line.data() + at, line.data() + end, value);
    if (error != std::errc() || stop != line.data() + end || !std::isfinite(value)) {
      throw usage_error("{}: '{}' is no number; a line is 'class centre-x centre-y width height'",
                        where, line.substr(at, std::min<std::size_t>(end - at, 40)));
    }
    numbers.push_back(value);
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
  image.exif = exif;
  const ImageSize size = measured_size(picture.string(), exif, complaints);
  image.path = picture.string();
  image.height = size.height;
  image.width = size.width;
  image.measured = true;
  const fs::path labels = label_file_of(picture);
  image.annotation = labels.string();
  if (!fs::exists(labels)) {
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
      if (!fs::is_directory(place)) continue;
      const fs::path labels = beside_images(place);
      folders.insert(fs::is_directory(labels) ? labels : place);
    }
  }
  for (const fs::path& folder : folders) {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      const std::string path = entry.path().string(), name = entry.path().filename().string();
      if (name.ends_with(".txt") && name != "classes.txt" && name[0] != '.' &&
          !used.contains(path)) {
        complaints.add("label files have no picture", path);
      }
    }
  }
}

}  // namespace

RawData read_yolo(const fs::path& place, Exif exif) {
  RawData data;
  const YoloLayout layout = yolo_layout_of(place.lexically_normal(), data.complaints);
  std::set<std::string> used;
  const auto read = [&](const std::vector<fs::path>& places, std::vector<RawImage>& images) {
    for (const fs::path& from : places) {
      for (const fs::path& picture : yolo_pictures_of(from)) {
        images.push_back(read_picture(picture, layout, exif, data.complaints));
        used.insert(images.back().annotation);
      }
    }
  };
  read(layout.train, data.train);
  read(layout.validation, data.validation);
  read(layout.test, data.test);
  count_strays(layout, used, data.complaints);
  data.classes = layout.names;
  if (!used.empty()) data.hint = fmt::format("; labels were looked for as '{}'", *used.begin());
  return data;
}

}  // namespace tapescope::detection
