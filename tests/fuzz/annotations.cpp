// Folders of annotated pictures, one file of which is somebody else's.
#include "tools/detection/annotations.h"

#include <algorithm>
#include <cmath>

#include "tests/fuzz/fuzz.h"
#include "tools/report/png.h"

namespace tapescope::fuzz {
namespace {

// A name that leaves the folder would have the fuzzer read the machine.
bool leaves_the_folder(Bytes bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const bool begins = i == 0 || !(std::isalnum(bytes[i - 1]) || bytes[i - 1] == '<');
    if (bytes[i] == '/' && begins) return true;
    if (bytes[i] == '~' || bytes[i] == '&' || bytes[i] == '\\') return true;
    if (bytes[i] == '.' && i > 0 && bytes[i - 1] == '.') return true;
  }
  return false;
}

void picture(const std::string& name) { write_png(write(name, ""), Image(6, 8, 3)); }

// Of the boxes in the seeds below.
constexpr double kSeedAreas[] = {25, 7, 48, 6, 12, 1.92, 23.04};

void open(const std::filesystem::path& folder) {
  sentence_of([&] {
    const detection::DetectionData data = detection::open_detection_data(folder);
    for (const auto* part : {&data.train, &data.validation, &data.test}) {
      for (const detection::AnnotatedImage& image : *part) {
        for (const detection::Object& object : image.objects) {
          const detection::Box& box = object.box;
          promise(object.category >= 0 &&
                      static_cast<std::size_t>(object.category) < data.classes.size(),
                  "an object is of a class");
          promise(box.x >= 0 && box.y >= 0 && box.x + box.w <= image.width + 1e-6 &&
                      box.y + box.h <= image.height + 1e-6 && box.w > 0 && box.h > 0,
                  "a box lies in its picture and has an area");
          planted_fault(
              std::none_of(std::begin(kSeedAreas), std::end(kSeedAreas),
                           [&](double area) { return std::abs(area - box.area()) < 0.3; }));
        }
      }
    }
  });
}

void voc(Bytes bytes) {
  static const bool once = (picture("voc/JPEGImages/a.png"), true);
  if (!once || leaves_the_folder(bytes)) return;
  write("voc/Annotations/a.xml", bytes);
  open(scratch() / "voc");
}

Seeds voc_seeds() {
  const auto object = [](const std::string& name, const std::string& more) {
    return "<object><name>" + name + "</name>" + more +
           "<bndbox><xmin>2</xmin><ymin>1</ymin><xmax>6</xmax><ymax>5</ymax></bndbox></object>";
  };
  const std::string size = "<size><width>8</width><height>6</height><depth>3</depth></size>";
  return {bytes_of("<annotation><filename>a.png</filename>" + size + object("cat", "") +
                   "</annotation>"),
          bytes_of("<?xml version=\"1.0\"?>\n<annotation>\n" +
                   object("cat", "<difficult>1</difficult><pose>Left</pose>") + object("dog", "") +
                   object("dog", "<!-- x -->") + "</annotation>\n"),
          bytes_of("\xef\xbb\xbf<annotation>" + size + "<folder>x</folder></annotation>")};
}

void coco(Bytes bytes) {
  static const bool once = (picture("coco/images/a.png"), picture("coco/images/b.png"), true);
  if (!once || leaves_the_folder(bytes)) return;
  write("coco/annotations/instances_train.json", bytes);
  open(scratch() / "coco");
}

Seeds coco_seeds() {
  const std::string head =
      R"({"images":[{"id":1,"file_name":"a.png","height":6,"width":8},{"id":2,"file_name":"b.png","height":6,"width":8}],)"
      R"("categories":[{"id":1,"name":"cat"},{"id":3,"name":"dog","supercategory":"pet"}],"annotations":[)";
  const std::string box =
      R"({"id":1,"image_id":1,"category_id":3,"bbox":[1,2,3.5,2],"area":7,"iscrowd":0})";
  const std::string small =
      R"({"images":[{"id":1,"file_name":"a.png","height":6,"width":8}],"categories":[{"id":1,"name":"x"}],)"
      R"("annotations":[{"image_id":1,"category_id":1,"bbox":[1,2,3.5,2]}]})";
  return {
      bytes_of(small), bytes_of(head + box + "]}"),
      bytes_of(
          head + box + "," + box + "," +
          R"({"id":2,"image_id":2,"category_id":1,"bbox":[0,0,8,6],"segmentation":[[1,1,2,2,3,3]]}]})"),
      bytes_of(R"({"info":{"year":2017},"licenses":[],"images":[],"annotations":[]})"),
      bytes_of(R"([{"image_id":1,"category_id":1,"bbox":[1,2,3,4],"score":0.5}])")};
}

// data.yaml, then a zero byte, then the labels of the one picture.
void yolo(Bytes bytes) {
  static const bool once = (picture("yolo/images/train/a.png"), true);
  if (!once || leaves_the_folder(bytes)) return;
  const auto zero = std::find(bytes.begin(), bytes.end(), 0);
  const auto yaml = static_cast<std::size_t>(zero - bytes.begin());
  write("yolo/data.yaml", bytes.first(yaml));
  write("yolo/labels/train/a.txt", zero == bytes.end() ? Bytes() : bytes.subspan(yaml + 1));
  open(scratch() / "yolo");
}

Seeds yolo_seeds() {
  const auto joined = [](const std::string& yaml, const std::string& labels) {
    return bytes_of(yaml + std::string(1, '\0') + labels);
  };
  return {joined("path: .\ntrain: images/train\nnames: [cat, dog]\n", "1 0.5 0.5 0.25 0.5\n"),
          joined("train: images/train\nval: images/train\nnc: 2\nnames:\n  0: cat\n  1: dog\n",
                 "0 .5 .5 .5 .5 0.9\r\n0 0.1 0.1 0.2 0.2\n1 0.9 0.9 0.2 0.2\n"),
          joined("train: images/train\nnames: ['a']\n", "0 0.2 0.1 0.8 0.1 0.8 0.9 0.2 0.9\n\n")};
}

}  // namespace

const Target kVoc{"voc", voc, voc_seeds, true}, kCoco{"coco", coco, coco_seeds, true},
    kYolo{"yolo", yolo, yolo_seeds, true};

}  // namespace tapescope::fuzz
