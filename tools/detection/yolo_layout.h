// Which pictures a YOLO data set has and what its classes are called: data.yaml says it, or files
// and folders of the usual names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/detection/annotation_formats.h"

namespace tapescope::detection {

struct YoloLayout {
  std::vector<std::filesystem::path> train, validation, test;  // folders of pictures, or lists
  std::vector<std::string> names;
  std::filesystem::path named_by;  // the file that names the classes
  bool keypoints = false;          // what is behind a box are keypoints, no polygon

  // By the beginning of a name: train, val, test; null for others.
  std::vector<std::filesystem::path>* part(const std::string& name) {
    return name.starts_with("train")  ? &train
           : name.starts_with("val")  ? &validation
           : name.starts_with("test") ? &test
                                      : nullptr;
  }
  bool splits() const { return !train.empty() || !validation.empty() || !test.empty(); }
};

// place: a folder, or a YAML file. Throws a usage error where no file names the classes or what is
// named does not exist.
YoloLayout yolo_layout_of(const std::filesystem::path& place, Complaints& complaints);

// Sorted of a folder and what is below it, in the list's order of a list.
std::vector<std::filesystem::path> yolo_pictures_of(const std::filesystem::path& place);

// The lines of a file without blanks around them; what is empty at the end is left out.
std::vector<std::string> lines_of(const std::filesystem::path& path);

}  // namespace tapescope::detection
