// What each annotation format is read into before classes are numbered and boxes are checked.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tools/data/image.h"

namespace tapescope::detection {

// What was wrong and could be lived with, counted, with the first place of each.
class Complaints {
 public:
  void add(const std::string& what, const std::string& where) {
    Entry& entry = entries_[what];
    if (entry.count++ == 0) entry.first = where;
  }
  std::vector<std::string> sentences() const;

 private:
  struct Entry {
    int count = 0;
    std::string first;
  };
  std::map<std::string, Entry> entries_;
};

struct RawObject {
  std::string name;
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;  // pixels, wherever the file says
  bool difficult = false, crowd = false;
  double area = -1;  // below 0: of the box
  int line = 0;      // of the annotation file, where it has lines
};
struct RawImage {
  std::string path, annotation;
  int height = 0, width = 0;  // 0: not said
  bool measured = false;      // the size is the picture's own, as `exif` has it
  Exif exif = Exif::apply;
  std::vector<RawObject> objects;
};
struct RawData {
  std::vector<RawImage> train, validation, test;
  std::vector<std::string> classes;  // in the file's order, where the format numbers them
  Complaints complaints;
  std::string hint;  // where objects were looked for
};

// Counts a picture with an EXIF orientation, saying what is done with it.
ImageSize measured_size(const std::string& picture, Exif exif, Complaints& complaints);

RawData read_voc_folder(const std::filesystem::path& folder);
// files: the JSON files.
RawData read_coco_folder(const std::vector<std::filesystem::path>& files,
                         const std::filesystem::path& folder);
// place: a folder, or a YAML file that says where the folders are.
RawData read_yolo(const std::filesystem::path& place, Exif exif);
// A file there says what classes YOLO's numbers mean.
bool names_yolo_classes(const std::filesystem::path& folder);
// There is at least a folder of labels or a YAML file.
bool looks_like_yolo(const std::filesystem::path& folder);

}  // namespace tapescope::detection
