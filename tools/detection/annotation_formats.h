// What each annotation format is read into before classes are numbered and boxes are checked.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tools/detection/annotations.h"
#include "tools/detection/named_files.h"
#include "tools/files/split_name.h"

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
  std::string name;                       // of its class: trimmed, printable
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;  // pixels, wherever the file says
  bool difficult = false, crowd = false;
  double area = -1;  // below 0: of the box
  int line = 0;      // of the annotation file, where it has lines
};
struct RawImage {
  std::string path, annotation;
  int height = 0, width = 0;  // 0: not said
  bool measured = false;      // the size is known to be the picture's
  bool shares = false;        // boxes are shares of whatever size it has
  std::string bad;            // why the picture cannot be used; empty: nothing is known against it
  std::string id;             // as JSON text, where the format has one
  Exif exif = Exif::apply;    // how it is read
  PictureContent content = {};
  std::vector<RawObject> objects;
};
struct RawData {
  std::string kind, layout;  // "coco"; for people: "COCO, a folder per split"
  std::vector<RawImage> train, validation, test;
  bool trainval = false;             // validation is yet to be set aside from train
  std::vector<std::string> classes;  // in the file's order, where the format numbers them
  std::map<std::string, std::string> category_ids;  // by class, as JSON text, where there are any
  Complaints complaints;
  std::vector<std::string> notices;  // sentences
  std::string hint;                  // where objects were looked for

  std::vector<RawImage>& part(Split split) {
    return split == Split::validation ? validation : split == Split::test ? test : train;
  }
};

// Fills in the size from the picture's own header, turned as `exif` says. A size that is said has
// to equal it, or else the size the other way, which is then how the picture is read: boxes are
// meant in its pixels. Of a picture that cannot be read it fills in `bad`.
void measure(RawImage& image, Exif exif, Complaints& complaints);
// Numbers the classes; clips boxes to their pictures or leaves them out, drops what is there twice.
// `bad` pictures are left out. Of pictures that are `told` nothing is complained of again.
std::vector<AnnotatedImage> checked(std::vector<RawImage>& images,
                                    const std::vector<std::string>& classes,
                                    const std::set<std::string>& told, Complaints& complaints);

// Each reads a place of its format; where it is only looked at it says in `kind` and `layout` what
// it takes the place for and reads nothing. Nothing where the place is not of that format. Throws a
// usage error for what is of the format and cannot be understood.
using Place = std::filesystem::path;
struct Look {
  bool only = false;
  Exif exif = Exif::apply;  // of pictures whose size matters for their boxes
};
std::optional<RawData> read_voc(const Place& place, NamedFiles& files, Look look);
// XML in folders that are not VOC's own: where another format claims the place, that one is meant.
std::optional<RawData> read_xml(const Place& place, NamedFiles& files, Look look);
std::optional<RawData> read_coco(const Place& place, NamedFiles& files, Look look);
// A folder, or a YAML file that says where the folders are.
std::optional<RawData> read_yolo(const Place& place, NamedFiles& files, Look look);
// Labels without a file that names the classes: a usage error that says so.
std::optional<RawData> read_labels(const Place& place, NamedFiles& files, Look look);

}  // namespace tapescope::detection
