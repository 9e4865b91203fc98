// Which pictures a YOLO data set has and what its classes are called: data.yaml says it, or files
// and folders of the usual names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/detection/annotation_formats.h"

namespace tapescope::detection {

struct YoloLayout {
  const char* name = nullptr;                                  // for people
  std::vector<std::filesystem::path> train, validation, test;  // folders of pictures, or lists
  std::filesystem::path folder;                                // that names are seen from
  std::vector<std::string> names;
  std::filesystem::path named_by;  // the file that names the classes
  bool keypoints = false;          // what is behind a box are keypoints, no polygon

  // Null for names of no split.
  std::vector<std::filesystem::path>* part(const std::string& name) {
    const Split split = split_in(name);
    return split == Split::train || split == Split::trainval ? &train
           : split == Split::validation                      ? &validation
           : split == Split::test                            ? &test
                                                             : nullptr;
  }
  bool splits() const { return !train.empty() || !validation.empty() || !test.empty(); }
};

// place: a folder, or a YAML file. Throws a usage error where no file names the classes or what is
// named does not exist.
YoloLayout yolo_layout_of(const std::filesystem::path& place, NamedFiles& files,
                          Complaints& complaints);

// Sorted of a folder and what is below it, in the list's order of a list. `folder`: of the data.
std::vector<std::filesystem::path> yolo_pictures_of(const std::filesystem::path& place,
                                                    const std::filesystem::path& folder,
                                                    NamedFiles& files);

// A file there says what classes YOLO's numbers mean.
bool names_yolo_classes(const std::filesystem::path& folder);
// There is at least a folder of labels or a YAML file.
bool looks_like_yolo(const std::filesystem::path& folder);

}  // namespace tapescope::detection
