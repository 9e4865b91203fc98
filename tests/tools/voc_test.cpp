// Pascal VOC's XML as programs write it and people keep it.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/tools/annotated_folder.h"

namespace tapescope::detection {
namespace {

namespace fs = std::filesystem;

class Voc : public AnnotatedFolder {
 protected:
  static std::string box(const std::string& x0, const std::string& y0, const std::string& x1,
                         const std::string& y1) {
    return "<bndbox><xmin>" + x0 + "</xmin><ymin>" + y0 + "</ymin><xmax>" + x1 + "</xmax><ymax>" +
           y1 + "</ymax></bndbox>";
  }
  static std::string object(const std::string& name, const std::string& inside) {
    return "<object><name>" + name + "</name>" + inside + "</object>";
  }
  static std::string cat() { return object("cat", box("11", "21", "60", "40")); }
  void annotate(const std::string& name, const std::string& inside) {
    write(name, "<annotation>" + inside + "</annotation>");
  }
  void annotate(const Words& names) {
    for (const std::string& name : names) annotate(name, cat());
  }
};

TEST_F(Voc, ThePictureOfTheSameNameIsMeant) {
  pictures({"JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c.d.BMP", "JPEGImages/e.png"});
  annotate("Annotations/a.xml", "<filename>a.jpg</filename>" + cat());
  annotate("Annotations/b.xml", "<filename>a.jpg</filename>" + cat());
  annotate("Annotations/c.d.xml", "<filename>C:\\work\\c.d</filename>" + cat());
  annotate("Annotations/e.png.xml", cat());
  const DetectionData data = open();
  EXPECT_EQ(names_of(data.train), (Words{"a.jpg", "b.jpg", "c.d.BMP", "e.png"}));
  expect_says(joined(data.notices), {"1 annotations have another name in <filename>", "b.xml"});
  EXPECT_EQ(data.kind, "voc");
}

TEST_F(Voc, FilenameIsFollowedWhereThereIsNoSuchPicture) {
  pictures({"JPEGImages/one.JPG", "JPEGImages/two.jpeg", "JPEGImages/in/three.png"});
  annotate("Annotations/a.xml", "<filename>one.jpg</filename>" + cat());
  annotate("Annotations/b.xml", "<filename>two</filename>" + cat());
  annotate("Annotations/c.xml", "<filename>in/three.png</filename>" + cat());
  const DetectionData data = open();
  EXPECT_EQ(names_of(data.train), (Words{"one.JPG", "three.png", "two.jpeg"}));
  expect_says(joined(data.notices), {"3 annotations have no picture of their own name"});
  annotate("Annotations/d.xml", "<filename>one.JPG</filename>" + cat());
  expect_complaint({"one.JPG' is annotated twice", "a.xml", "d.xml"});
  annotate("Annotations/d.xml", "<filename>../../d.jpg</filename>" + cat());
  expect_complaint({"d.xml", "'../../d.jpg'", "outside", "--allow-outside"});
  annotate("Annotations/d.xml", "<filename>/dev/zero</filename>" + cat());
  expect_complaint({"d.xml", "'/dev/zero'", "outside"});
  expect_complaint({"'/dev/zero'", "regular file"}, {.allow_outside = true});
  annotate("Annotations/d.xml", "<filename>" + std::string(5000, 'x') + ".jpg</filename>" + cat());
  expect_complaint({"d.xml", "names the picture 'xxx", "(5004 bytes)"});
}

TEST_F(Voc, EveryBoxOfAnObjectCounts) {
  picture("JPEGImages/a.jpg");
  annotate("Annotations/a.xml",
           object("cat", box("5", "21", "25", "40") + box("35", "21", "55", "40") +
                             box("65.5", "21", "85.25", "40")) +
               object(" cat\n", box("1", "1", "9", "9")) + object("cat ", box("1", "1", "9", "9")));
  const DetectionData data = open();
  EXPECT_EQ(data.classes, Words{"cat"});
  ASSERT_EQ(data.train.at(0).objects.size(), 4u);
  expect_box(data.train[0].objects[2].box, 64.5, 20, 20.75, 20);
  expect_says(joined(data.notices), {"1 boxes are there twice"});
}

TEST_F(Voc, NumbersAreReadToTheirEnd) {
  picture("JPEGImages/a.jpg");
  for (const char* wrong : {"10,5", "10px", "", "nan", "1e999", "0x10", "- 3"}) {
    annotate("Annotations/a.xml", cat() + object("dog", box("1", wrong, "20", "20")));
    expect_complaint({"a.xml", "no number in <ymin>", "object 2", "'dog'", wrong});
  }
  annotate("Annotations/a.xml", object("dog", box(" 1.0 ", "+2", "2e1\n", "20")));
  expect_box(open().train.at(0).objects.at(0).box, 0, 1, 20, 19);
  for (const char* wrong : {"-29", "100.5", "4294967329", "1e300", "wide"}) {
    annotate("Annotations/a.xml",
             fmt::format("<size><width>{}</width><height>50</height></size>{}", wrong, cat()));
    expect_complaint({"a.xml", "<width>", "<size>"});
  }
  annotate("Annotations/a.xml", "<size><width/><height> </height></size>" + cat());
  EXPECT_EQ(open().train.at(0).width, 100);
}

TEST_F(Voc, ClassesArePrintable) {
  picture("JPEGImages/a.jpg");
  annotate("Annotations/a.xml", object("bl\xfct&#27;[31m", box("1", "1", "9", "9")));
  EXPECT_EQ(open().classes, Words{"bl\\xfct\\x1b[31m"});
  annotate("Annotations/a.xml", object(" \n", box("1", "1", "9", "9")));
  expect_complaint({"a.xml", "without <name>"});
}

TEST_F(Voc, Utf16IsReadAsXmlAndNamedInLists) {
  const auto utf16 = [](const std::string& text) {
    std::string wide = "\xFF\xFE";
    for (const char c : text) wide += {c, '\0'};
    return wide;
  };
  picture("JPEGImages/a.jpg");
  write("Annotations/a.xml", utf16("<annotation>" + cat() + "</annotation>"));
  EXPECT_EQ(open().train.at(0).objects.size(), 1u);
  write("ImageSets/Main/train.txt", utf16("a\n"));
  expect_complaint({"train.txt", "UTF-16", "UTF-8"});
}

TEST_F(Voc, WhatAMacOrAnArchiveLeavesIsPassedOver) {
  pictures({"JPEGImages/a.jpg", "JPEGImages/b.jpg"});
  annotate({"Annotations/a.xml", "Annotations/b.XML"});
  write("Annotations/._a.xml", "\x05\x16\x07");
  write("Annotations/.DS_Store", "");
  write("JPEGImages/._a.jpg", "");
  fs::create_directories(folder_ / "__MACOSX");
  EXPECT_EQ(open().train.size(), 2u);
}

TEST_F(Voc, ListsHaveWholeLines) {
  pictures({"JPEGImages/a.jpg", "JPEGImages/my photo.jpg", "JPEGImages/my photo 1.jpg",
            "JPEGImages/c.jpg"});
  annotate({"Annotations/a.xml", "Annotations/my photo.xml", "Annotations/my photo 1.xml",
            "Annotations/c.xml"});
  write("ImageSets/Main/train.txt",
        "\xEF\xBB\xBF"
        "a\r\nmy photo \r\n\r\nmy photo 1\r\n");
  write("ImageSets/Main/val.txt", "/home/somebody/VOC/JPEGImages/c.jpg\n");
  // Lists of one class, among them VOC's class train: no splits.
  write("ImageSets/Main/cat_train.txt", "nowhere  1\n");
  write("ImageSets/Main/train_val.txt", "nowhere -1\n");
  DetectionData data = open();
  EXPECT_EQ(names_of(data.train), (Words{"a.jpg", "my photo 1.jpg", "my photo.jpg"}));
  EXPECT_EQ(names_of(data.validation), Words{"c.jpg"});
  // One of those under another name: what it says of its class is not the name.
  write("ImageSets/Main/train.txt", "a  1\nc -1\nmy photo 1\na\n");
  write("ImageSets/Main/val.txt", "");
  data = open();
  EXPECT_EQ(names_of(data.train), (Words{"a.jpg", "c.jpg", "my photo 1.jpg"}));
  expect_says(joined(data.notices),
              {"2 lines say 1, 0 or -1", "1 lines of lists say the same twice"});
  write("ImageSets/Main/train.txt", "a\nnowhere\n");
  expect_complaint({"train.txt", "lists 'nowhere'", "does not exist"});
  write("ImageSets/Main/train.txt", "../../../a\n");
  expect_complaint({"train.txt", "'../../../a.xml'", "outside"});
}

TEST_F(Voc, ValidationIsSetAsideFromTrainval) {
  Words names;
  std::string list;
  for (int i = 0; i < 40; ++i) {
    names.push_back(fmt::format("Annotations/{:02}.xml", i));
    picture(fmt::format("JPEGImages/{:02}.jpg", i));
    list += fmt::format("{:02}\n", i);
  }
  annotate(names);
  write("ImageSets/Main/trainval.txt", list);
  const DetectionData data = open();
  EXPECT_EQ(data.train.size() + data.validation.size(), 40u);
  EXPECT_GE(data.validation.size(), 1u);
  EXPECT_LE(data.validation.size(), 12u);
  expect_says(joined(data.notices), {"of its 40 were set aside"});
  // One picture more moves no other.
  picture("JPEGImages/new.jpg");
  annotate({"Annotations/new.xml"});
  write("ImageSets/Main/trainval.txt", list + "new\n");
  Words before = names_of(data.validation), after = names_of(open().validation);
  std::erase(after, "new.jpg");
  EXPECT_EQ(before, after);
  // Where validation is listed, the rest is for training; where train is, trainval says nothing.
  write("ImageSets/Main/val.txt", "00\n01\n");
  EXPECT_EQ(open().train.size(), 39u);
  EXPECT_EQ(names_of(open().validation), (Words{"00.jpg", "01.jpg"}));
  write("ImageSets/Main/train.txt", "02\n");
  EXPECT_EQ(names_of(open().train), Words{"02.jpg"});
  write("ImageSets/Main/test.txt", "02\n");
  expect_says(joined(open().notices), {"1 pictures of train are in test too", "02.jpg"});
}

TEST_F(Voc, EveryLayout) {
  struct Case {
    const char* what;
    Words pictures, annotations;
    std::size_t train, validation, test;
  };
  const Case cases[] = {
      {"labelImg: beside", {"a.jpg", "b.PNG"}, {"a.xml", "b.xml"}, 2, 0, 0},
      {"beside, in images", {"images/a.jpg"}, {"images/a.xml"}, 1, 0, 0},
      {"Kaggle",
       {"images/a.png", "images/b.png"},
       {"annotations/a.xml", "annotations/b.xml"},
       2,
       0,
       0},
      {"pets", {"images/a.png"}, {"annotations/xmls/a.xml"}, 1, 0, 0},
      {"capitals", {"Images/a.png"}, {"ANNOTATIONS/a.xml"}, 1, 0, 0},
      {"pictures beside folders", {"a.png"}, {"Annotations/a.xml"}, 1, 0, 0},
      {"Roboflow",
       {"train/a.jpg", "train/b.jpg", "valid/c.jpg", "test/d.jpg"},
       {"train/a.xml", "train/b.xml", "valid/c.xml", "test/d.xml"},
       2,
       1,
       1},
      {"a VOC a split",
       {"Train/JPEGImages/a.jpg", "Val/JPEGImages/a.jpg"},
       {"Train/Annotations/a.xml", "Val/Annotations/a.xml"},
       1,
       1,
       0},
      {"TensorFlow's guides",
       {"images/train/a.jpg", "images/test/b.jpg"},
       {"images/train/a.xml", "images/test/b.xml"},
       1,
       0,
       1},
      {"splits in both",
       {"images/train/a.jpg", "images/val/a.jpg"},
       {"annotations/train/a.xml", "annotations/val/a.xml"},
       1,
       1,
       0},
      {"VOCdevkit",
       {"VOCdevkit/VOC2007/JPEGImages/a.jpg", "VOCdevkit/VOC2012/JPEGImages/b.jpg"},
       {"VOCdevkit/VOC2007/Annotations/a.xml", "VOCdevkit/VOC2012/Annotations/b.xml"},
       2,
       0,
       0},
      {"a year", {"VOC2007/JPEGImages/a.jpg"}, {"VOC2007/Annotations/a.xml"}, 1, 0, 0},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    clear();
    pictures(c.pictures);
    annotate(c.annotations);
    const DetectionData data = open();
    EXPECT_EQ(data.kind, "voc");
    EXPECT_EQ(data.train.size(), c.train);
    EXPECT_EQ(data.validation.size(), c.validation);
    EXPECT_EQ(data.test.size(), c.test);
    // The picture is the split's own, where names repeat.
    for (const AnnotatedImage& image : data.validation) {
      EXPECT_NE(image.path.find("al"), std::string::npos) << image.path;
    }
    expect_says(data.summary,
                {"VOC", fmt::format("{} training", c.train), "1 classes", folder_.path().string()});
  }
}

TEST_F(Voc, WhatLiesDeeperIsNamed) {
  pictures({"sets/first/a.jpg"});
  annotate({"sets/first/a.xml"});
  write("readme.txt", "words");
  expect_complaint(
      {"holds no annotated pictures", "sets/first' (Pascal VOC's XML beside", "name that folder"});
  // A data set that is called like a split is none.
  clear();
  pictures({"trainval/JPEGImages/a.jpg"});
  annotate({"trainval/Annotations/a.xml"});
  write("trainval/ImageSets/Main/trainval.txt", "a\n");
  expect_complaint({"holds no annotated pictures", "trainval' (Pascal VOC, Annotations"});
}

TEST_F(Voc, WhatIsNoAnnotationIsNamed) {
  picture("JPEGImages/a.jpg");
  ASSERT_EQ(::mkdir((folder_ / "Annotations").c_str(), 0700), 0);
  ASSERT_EQ(::mkfifo((folder_ / "Annotations/a.xml").c_str(), 0600), 0);
  expect_complaint({"a.xml", "no regular file"});
  fs::remove(folder_ / "Annotations/a.xml");
  write("Annotations/a.xml", "<other/>");
  expect_complaint({"a.xml", "no <annotation>"});
  fs::remove(folder_ / "Annotations/a.xml");
  fs::create_symlink("a.xml", folder_ / "Annotations/a.xml");
  expect_complaint({"a.xml", "cannot be looked at"});
}

TEST_F(Voc, AMissingPictureMayBeLeftOut) {
  picture("JPEGImages/a.jpg");
  annotate({"Annotations/a.xml", "Annotations/b.xml"});
  expect_complaint({"b.xml", "names the picture 'b'", "JPEGImages"});
  const DetectionData data = open({.on_bad_image = BadImage::skip});
  EXPECT_EQ(names_of(data.train), Words{"a.jpg"});
  EXPECT_EQ(data.bad_images.size(), 1u);
}

TEST_F(Voc, DamagedFilesAreErrorsOrReadAndNothingElse) {
  picture("JPEGImages/a.jpg");
  const std::string text =
      "<annotation><filename>a.jpg</filename><size><width>100</width><height>50</height></size>" +
      cat() + object("dog", box("1", "1", "9", "9")) + "</annotation>";
  const int read = read_damaged("Annotations/a.xml", text, 300);
  EXPECT_GT(read, 3);
  EXPECT_LT(read, 250);
  write("Annotations/a.xml", text);
  EXPECT_GT(read_damaged("ImageSets/Main/train.txt", "a\n", 100), 5);
}

class VocCase : public ::testing::TestWithParam<const char*> {};

TEST_P(VocCase, IsRead) {
  const std::string name = GetParam();
  const fs::path place = shared_case("files/08_voc/" + name);
  if (place.empty()) GTEST_SKIP() << "no shared/cases/files/08_voc/" << name;
  if (name == "comma") {
    const std::string message = usage_message([&] { open_detection_data(place); });
    for (const char* part : {"b.xml", "'cat'", "10,5"}) {
      EXPECT_NE(message.find(part), std::string::npos) << message;
    }
    return;
  }
  const DetectionData data = open_detection_data(place);
  EXPECT_EQ(data.classes, std::vector<std::string>{"cat"});
  EXPECT_EQ(data.train.size() + data.validation.size(), 2u);
  const std::size_t objects = name == "multibnd" ? 4 : 2;
  std::size_t found = 0;
  for (const auto* part : {&data.train, &data.validation}) {
    for (const AnnotatedImage& image : *part) found += image.objects.size();
  }
  EXPECT_EQ(found, objects);
  if (name != "trainval") {
    EXPECT_NE(data.train.at(0).path, data.train.at(1).path);
  }
}
INSTANTIATE_TEST_SUITE_P(Shared, VocCase,
                         ::testing::Values("wrongname", "multibnd", "trailname", "order", "comma",
                                           "spaces", "upper", "upper2", "macjunk", "listbom",
                                           "trainval", "plain", "imgann", "devkit"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace tapescope::detection
