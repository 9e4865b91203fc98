// Annotated pictures from the formats people have: seen from what a folder holds.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tools/data/dataset.h"
#include "tools/detection/boxes.h"

namespace tapescope::detection {

struct Object {
  Box box;  // pixels, inside the picture
  int category = 0;
  bool difficult = false, crowd = false;
  double area = 0;  // as annotated, else of the box
};

struct AnnotatedImage {
  std::string path;
  int height = 0, width = 0;  // as the annotation says
  std::vector<Object> objects;
  std::string id =
      {};  // in the data's own JSON, as JSON text (`7`, `"a7"`); empty of other formats
  Exif exif = Exif::apply;      // how it has to be read for its boxes to lie right
  PictureContent content = {};  // known where splits are drawn or kept
};

struct DetectionData {
  std::vector<std::string> classes;  // sorted; YOLO's in the order of their numbers
  // By class, as JSON text, in the data's own JSON; empty of other formats, and of a class that is
  // not in it.
  std::vector<std::string> category_ids;
  std::vector<AnnotatedImage> train, validation, test;
  std::string kind;                  // "voc", "coco" or "yolo"
  std::string summary;               // a sentence: what the folder was taken for, and what is in it
  std::vector<std::string> notices;  // counted: boxes that were clipped or left out, and why
  std::vector<std::string> bad_images;  // left out under BadImage::skip
  SplitRecord record;                   // what RUN/split.tsv says of these splits
  std::vector<std::string> changes;     // since the record was made, of a training that goes on
};

struct DetectionDataOptions {
  // Those of a trained model, in its order; an unknown one is an error. Empty: those found.
  std::vector<std::string> classes = {};
  // Names in annotations, lists and data.yaml may lead out of the data folder and of the folder
  // that data.yaml names as its `path`.
  bool allow_outside = false;
  // skip: every picture is decoded, and those that cannot be are left out with their boxes.
  BadImage on_bad_image = BadImage::fail;
  // How a picture with an EXIF orientation is read, unless its annotation states a size that fits
  // it only the other way; both are counted. YOLO's shares are of the picture as this has it.
  Exif exif = Exif::apply;
  // How pictures are drawn into splits that no folder or list names, and kept in those of a record,
  // as a classifier's are (tools/data/splits.h). None: they stay where they are found, but for a
  // tenth of a `trainval`, drawn by name.
  std::optional<DataOptions> division = {};
};

// Opens the annotated pictures of a folder, or of a data.yaml, in whichever layout they are (the
// table in README.md):
// * Pascal VOC's XML: the picture of the XML's own name is meant, <filename> where there is none.
//   xmin .. ymax are pixels counted from 1, both ends inside, so that a box is [xmin - 1, xmax]
//   wide.
// * COCO's JSON, one file per split.
// * YOLO's labels: class, centre and size as shares of the picture, and perhaps a score; a polygon
//   counts as the box around it. data.yaml, classes.txt or obj.names says what the classes are
//   called.
// Splits are known by whole words of names: train, val, valid, validation, test and the like.
// Boxes reaching out of the picture are clipped; boxes without area, inverted, or there twice are
// left out; each is counted and the first is named. Throws a usage error for a file that cannot
// be understood, a picture that is missing, or data without any object.
DetectionData open_detection_data(const std::filesystem::path& place,
                                  const DetectionDataOptions& options = {});

// The images of train, validation or test; a usage error where there are none. `folder`: for it.
const std::vector<AnnotatedImage>& split_of(const DetectionData& data, const std::string& folder,
                                            const std::string& split);
// On stderr: what a folder was taken for, what was mended and what was left out.
void say(const DetectionData& data);

// The picture as its boxes are meant, 3 channels. A usage error where it has not the annotated
// size.
Image read_annotated(const AnnotatedImage& image);

}  // namespace tapescope::detection
