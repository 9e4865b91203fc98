// Annotated pictures from the formats people have: seen from what a folder holds.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/data/image.h"
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
  Exif exif = Exif::apply;  // how it has to be read for its boxes to lie right
};

struct DetectionData {
  std::vector<std::string> classes;  // sorted; YOLO's in the order of their numbers
  std::vector<AnnotatedImage> train, validation, test;
  std::string kind;                  // "voc", "coco" or "yolo"
  std::vector<std::string> notices;  // counted: boxes that were clipped or left out, and why
};

// * Pascal VOC: Annotations/*.xml, JPEGImages/*, and ImageSets/Main/{train,val,test}.txt where
//   there are; without them every annotation is for training. xmin .. ymax are pixels counted from
//   1, both ends inside, so that a box is [xmin - 1, xmax] wide.
// * COCO: annotations/{train,val,test}*.json, or one *.json, beside the folders of pictures that
//   `file_name` is looked for in: ., images, and those named like the annotation file's end.
// * YOLO: data.yaml (path, train, val, test, names; another *.yaml if it is the only one, or
//   `place` itself), or classes.txt or obj.names. Without train, val and test in it the splits are
//   train.txt, val.txt, test.txt (lists of pictures), images/{train,val,test}*,
//   {train,val*,test}/images, or all of images/ for training. Labels are .txt files in `labels`
//   where the pictures are in `images`, else beside them: class, centre and size as shares of the
//   picture, and perhaps a score; a polygon counts as the box around it.
// A picture with an EXIF orientation is read as `exif` says, unless its annotation states a size
// that fits it only the other way; both are counted. YOLO's labels are shares of the picture as
// `exif` has it. `classes`: those of a trained model, in its order; an unknown one is an error.
// Empty: those found. Boxes reaching out of the picture are clipped; boxes without area, or
// inverted, are left out; both are counted and the first of each is named. Throws a usage error for
// a file that cannot be understood, a picture that is missing, or data without any object.
DetectionData open_detection_data(const std::filesystem::path& place,
                                  std::vector<std::string> classes = {}, Exif exif = Exif::apply);

// The picture as its boxes are meant, 3 channels. A usage error where it has not the annotated
// size.
Image read_annotated(const AnnotatedImage& image);

}  // namespace tapescope::detection
