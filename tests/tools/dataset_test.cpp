#include "tools/data/dataset.h"

#include <zlib.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/tools/temporary_folder.h"
#include "tools/data/idx.h"
#include "tools/report/png.h"

namespace tapescope {
namespace {

void expect_says(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

// A picture whose first pixel tells its class and number, the second its split's folder.
void picture(const std::filesystem::path& path, int label, int number) {
  std::filesystem::create_directories(path.parent_path());
  Image image(4, 5, 3, 200);
  const std::string split = path.parent_path().parent_path().filename();
  image.pixels[4] = split == "test" ? 1 : split == "val" ? 2 : 0;
  image.pixels[0] = static_cast<std::uint8_t>(label);
  image.pixels[1] = static_cast<std::uint8_t>(number);
  write_png(path, image);
}

void classes(const std::filesystem::path& root, const std::vector<std::string>& names, int each) {
  for (std::size_t c = 0; c < names.size(); ++c) {
    for (int i = 0; i < each; ++i) {
      picture(root / names[c] / fmt::format("p{}.png", 100 + i), static_cast<int>(c), i);
    }
  }
}

std::vector<int> counts(const Dataset& data) {
  std::vector<int> out(data.classes().size(), 0);
  for (std::int64_t i = 0; i < data.size(); ++i) {
    ++out[static_cast<std::size_t>(data.label(i))];
    EXPECT_EQ(data.image(i).pixels[0], data.label(i)) << data.name(i);
  }
  return out;
}

std::string open_message(const std::filesystem::path& path, const DataOptions& options = {}) {
  return usage_message([&] { open_data(path, options); });
}

TEST(OpenData, TrainTestAndValidationFolders) {
  const TemporaryFolder folder;
  classes(folder / "train", {"ant", "bee", "cat"}, 5);
  classes(folder / "test", {"ant", "bee", "cat"}, 2);
  classes(folder / "val", {"ant", "bee", "cat"}, 3);
  picture(folder / "train/.hidden/x.png", 0, 0);
  picture(folder / "train/bee/.hidden.png", 0, 0);
  picture(folder / "train/bee/more/deep/y.PNG", 1, 77);
  const DataSplits splits = open_data(folder.path());
  EXPECT_EQ(splits.kind, "folder");
  EXPECT_EQ(splits.classes, (std::vector<std::string>{"ant", "bee", "cat"}));
  EXPECT_EQ(counts(*splits.train), (std::vector<int>{5, 6, 5}));
  EXPECT_EQ(counts(*splits.validation), (std::vector<int>{3, 3, 3}));
  EXPECT_EQ(counts(*splits.test), (std::vector<int>{2, 2, 2}));
  EXPECT_EQ(splits.channels, 3);
  EXPECT_TRUE(splits.notices.empty());
  EXPECT_EQ(splits.split("test"), splits.test);
  EXPECT_NE(usage_message([&] { splits.split("tset"); }), "");
}

TEST(OpenData, FlatFolderIsSplitByTheSeed) {
  const TemporaryFolder folder;
  classes(folder.path(), {"a", "b"}, 40);
  const DataOptions options{.validation_fraction = 0.25, .test_fraction = 0.1, .seed = 3};
  const auto names = [](const Dataset& data) {
    std::set<std::string> out;
    for (std::int64_t i = 0; i < data.size(); ++i) out.insert(data.name(i));
    return out;
  };
  const DataSplits splits = open_data(folder.path(), options);
  for (const int count : counts(*splits.test)) EXPECT_TRUE(count >= 1 && count <= 10) << count;
  for (const int count : counts(*splits.validation)) {
    EXPECT_TRUE(count >= 3 && count <= 17) << count;  // 9 expected
  }
  std::set<std::string> all = names(*splits.train);
  all.merge(names(*splits.validation));
  all.merge(names(*splits.test));
  EXPECT_EQ(all.size(), 80u) << "the splits share no picture";

  EXPECT_EQ(names(*open_data(folder.path(), options).test), names(*splits.test));
  DataOptions other = options;
  other.seed = 4;
  EXPECT_NE(names(*open_data(folder.path(), other).test), names(*splits.test));

  DataOptions none;
  none.validation_fraction = 0;
  const DataSplits whole = open_data(folder.path(), none);
  EXPECT_EQ(whole.train->size(), 80);
  EXPECT_EQ(whole.validation, nullptr);
  expect_says(usage_message([&] { whole.split("test"); }), "no test split");
}

TEST(StratifiedSplit, TakesTheShareOfEveryClass) {
  std::vector<std::int64_t> labels;
  for (int i = 0; i < 100; ++i) labels.push_back(i % 10 == 0 ? 1 : 0);  // 90 and 10
  labels.push_back(2);                                                  // one alone
  labels.push_back(3);
  labels.push_back(3);
  const StratifiedSplit split = stratified_split(labels, 0.2, 1, "test");
  std::map<std::int64_t, int> chosen;
  for (std::int64_t i : split.chosen) ++chosen[labels[static_cast<std::size_t>(i)]];
  EXPECT_EQ(chosen, (std::map<std::int64_t, int>{{0, 18}, {1, 2}, {3, 1}}));
  EXPECT_EQ(split.rest.size() + split.chosen.size(), labels.size());
  EXPECT_TRUE(std::is_sorted(split.rest.begin(), split.rest.end()));
  EXPECT_NE(stratified_split(labels, 0.2, 1, "validation").chosen, split.chosen);
}

TEST(OpenData, SaysWhatIsWrongWithAFolder) {
  const TemporaryFolder folder;
  expect_says(open_message(folder / "absent"), "no such folder");
  put(folder / "file.zip", "x");
  expect_says(open_message(folder / "file.zip"), "is a file");
  std::filesystem::create_directories(folder / "empty");
  expect_says(open_message(folder / "empty"), "no class folders");
  picture(folder / "loose/x.png", 0, 0);
  expect_says(open_message(folder / "loose"), "1 pictures lie in it directly");
  classes(folder / "one", {"only"}, 3);
  expect_says(open_message(folder / "one"), "one class only (only)");
  classes(folder / "hole/train", {"a", "b"}, 2);
  std::filesystem::create_directories(folder / "hole/train/nothing");
  expect_says(open_message(folder / "hole"), "hole/train/nothing");
  classes(folder / "alien/train", {"a", "b"}, 2);
  classes(folder / "alien/test", {"a", "zebra"}, 2);
  expect_says(open_message(folder / "alien"), "zebra");
  classes(folder / "good", {"a", "b"}, 2);
  expect_says(open_message(folder / "good", {.validation_fraction = 1.5}), "1.5");
  expect_says(open_message(folder / "good", {.channels = 2}), "1 or 3");
}

TEST(OpenData, OtherFilesAreSkippedAndCounted) {
  const TemporaryFolder folder;
  classes(folder.path(), {"a", "b"}, 4);
  put(folder / "a/notes.txt", "hello");
  put(folder / "b/list.csv", "hello");
  for (const char* left_behind : {"b/Thumbs.db", "b/desktop.ini", "b/._p100.png", "Thumbs.db"}) {
    put(folder / left_behind, "hello");
  }
  put(folder / "__MACOSX/a/._p100.png", "hello");
  const DataSplits splits = open_data(folder.path());
  ASSERT_EQ(splits.notices.size(), 1u);
  expect_says(splits.notices[0], "2 files are not pictures");
  expect_says(splits.notices[0], "notes.txt");
}

TEST(OpenData, BrokenPicturesFailOrAreLeftOut) {
  const TemporaryFolder folder;
  classes(folder.path(), {"a", "b"}, 4);
  put(folder / "a/text.png", "no picture at all");
  put(folder / "b/empty.jpg", "");
  const auto cut = get(fixture("images/baseline.jpg"));
  put(folder / "b/cut.jpg", std::span(cut.data(), cut.size() - 30));
  const std::string message = open_message(folder.path());
  expect_says(message, "text.png");
  expect_says(message, "3 of 11");
  DataOptions options{.validation_fraction = 0};
  options.on_bad_image = BadImage::skip;
  const DataSplits splits = open_data(folder.path(), options);
  EXPECT_EQ(counts(*splits.train), (std::vector<int>{4, 4}));
  ASSERT_EQ(splits.bad_images.size(), 3u);
  expect_says(splits.bad_images[0], "text.png");
  expect_says(splits.bad_images[1], "cut.jpg");
  expect_says(splits.bad_images[2], "empty.jpg");
  ASSERT_EQ(splits.notices.size(), 1u);
}

TEST(OpenData, AModelsClassesGiveTheLabels) {
  const TemporaryFolder folder;
  classes(folder / "test", {"a", "c"}, 2);
  DataOptions options;
  options.classes = {"c", "b", "a"};
  const DataSplits splits = open_data(folder.path(), options);
  EXPECT_EQ(splits.train, nullptr);
  EXPECT_EQ(splits.classes, options.classes);
  EXPECT_EQ(splits.test->label(0), 2);
  EXPECT_EQ(splits.test->label(3), 0);
  ASSERT_EQ(splits.notices.size(), 1u);
  expect_says(splits.notices[0], "no picture of class b");
  options.classes = {"a", "b"};
  expect_says(open_message(folder.path(), options), "of the model");
}

TEST(ImageFiles, TheCacheStaysWithinItsBudget) {
  const TemporaryFolder folder;
  classes(folder.path(), {"a", "b"}, 4);
  for (std::int64_t budget : {0, 60, 130, 1 << 20}) {
    DataOptions options{.validation_fraction = 0, .cache_bytes = budget};
    const DataSplits splits = open_data(folder.path(), options);
    std::int64_t cached = 0;
    for (std::int64_t i = 0; i < 8; ++i) {
      const ImageView view = splits.train->image(i);
      EXPECT_EQ(view.pixels[1], i % 4);
      cached += view.owner == nullptr ? 1 : 0;
      if (view.owner == nullptr) {
        EXPECT_EQ(splits.train->image(i).pixels, view.pixels);
      }
    }
    EXPECT_EQ(cached, std::min<std::int64_t>(8, budget / 60));
  }
}

TEST(OpenData, OneChannelOnRequest) {
  const TemporaryFolder folder;
  classes(folder.path(), {"a", "b"}, 2);
  const DataSplits splits = open_data(folder.path(), {.channels = 1});
  EXPECT_EQ(splits.channels, 1);
  EXPECT_EQ(splits.train->image(0).channels, 1);
  EXPECT_EQ(splits.train->image(0).pixels[3], 200);
}

// ---- IDX

std::string idx(std::vector<std::uint32_t> extents, const std::string& data, char type = 8) {
  std::string out = {0, 0, type, static_cast<char>(extents.size())};
  for (std::uint32_t extent : extents) {
    for (int shift : {24, 16, 8, 0}) out += static_cast<char>(extent >> shift);
  }
  return out + data;
}

void put_gz(const std::filesystem::path& path, const std::string& data) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, data.data(), static_cast<unsigned>(data.size()));
  gzclose(file);
}

std::string ramp(int count, int each) {
  std::string out;
  for (int i = 0; i < count; ++i) {
    std::string one(static_cast<std::size_t>(each), static_cast<char>(i % 3));
    one[1] = static_cast<char>(i);  // no two alike, nor in sets of different sizes
    one[2] = static_cast<char>(count);
    out += one;
  }
  return out;
}
std::string labels(int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += static_cast<char>(i % 3);
  return out;
}

TEST(Idx, PlainAndCompressedFiles) {
  const TemporaryFolder folder;
  put(folder / "train-images-idx3-ubyte", idx({30, 4, 6}, ramp(30, 24)));
  put_gz(folder / "train-labels-idx1-ubyte.gz", idx({30}, labels(30)));
  put_gz(folder / "t10k-images-idx3-ubyte.gz", idx({6, 4, 6}, ramp(6, 24)));
  put(folder / "t10k-labels-idx1-ubyte", idx({6}, labels(6)));
  const DataSplits splits = open_data(folder.path(), {.validation_fraction = 0.2});
  EXPECT_EQ(splits.kind, "idx");
  EXPECT_EQ(splits.classes, (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(splits.channels, 1);
  EXPECT_EQ(splits.train->size() + splits.validation->size(), 30);
  for (const int count : counts(*splits.validation)) EXPECT_TRUE(count >= 1 && count < 10);
  EXPECT_EQ(counts(*splits.test), (std::vector<int>{2, 2, 2}));
  EXPECT_EQ(splits.test->name(4), "t10k-images-idx3-ubyte.gz[4]");
  const ImageView view = splits.test->image(4);
  EXPECT_EQ(view.height, 4);
  EXPECT_EQ(view.width, 6);
  const DataSplits three = open_data(folder.path(), {.channels = 3});
  EXPECT_EQ(three.test->image(2).channels, 3);
  EXPECT_EQ(three.test->image(2).pixels[71], 2);
}

TEST(Idx, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const auto says = [&](const std::string& images, const std::string& label_file,
                        const std::string& part, const DataOptions& options = {}) {
    put(folder / "train-images-idx3-ubyte", images);
    put(folder / "train-labels-idx1-ubyte", label_file);
    expect_says(open_message(folder.path(), options), part);
  };
  const std::string good_images = idx({6, 2, 2}, ramp(6, 4));
  const std::string good_labels = idx({6}, labels(6));
  says("", good_labels, "shorter than an IDX header");
  says("PNG and more", good_labels, "magic number");
  says(idx({6, 2, 2}, ramp(6, 4), 0x0d), good_labels, "0x0d");
  says(good_images.substr(0, 9), good_labels, "within its header");
  says(good_images.substr(0, good_images.size() - 1), good_labels, "23 of the 24 bytes");
  says(good_images + "x", good_labels, "longer than");
  says(good_images, idx({5}, labels(5)), "6 pictures");
  says(good_labels, good_labels, "labels?");
  says(good_images, good_images, "pictures?");
  says(idx({0, 2, 2}, ""), idx({0}, ""), "no pictures");
  says(idx({6, 2, 2, 2}, ramp(6, 8)), good_labels, "2 channels");
  says(idx({0xffffffff, 0xffffffff, 0xffffffff}, "x"), good_labels, "terabyte");
  says(idx({0xffff, 0xffff, 200}, "x"), good_labels, "cannot hold them");
  says(good_images, idx({6}, std::string(6, '\0')), "one class only");
  says(good_images, good_labels, "label 2 at position 2", {.classes = {"x", "y"}});
  std::filesystem::remove(folder / "train-labels-idx1-ubyte");
  expect_says(open_message(folder.path()), "not train-labels");
}

TEST(Idx, DamagedCompressedFilesAreErrors) {
  const TemporaryFolder folder;
  put(folder / "train-labels-idx1-ubyte", idx({30}, labels(30)));
  const auto path = folder / "train-images-idx3-ubyte.gz";
  std::string noise;
  for (int i = 0; i < 30 * 24; ++i) noise += static_cast<char>(i * i * 31 >> 3);
  put_gz(path, idx({30, 4, 6}, noise));
  const auto whole = get(path);
  ASSERT_NO_THROW(open_data(folder.path()));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    put(path, std::span(whole.data(), size));
    EXPECT_THROW(open_data(folder.path()), Error) << "cut to " << size;
  }
  for (std::size_t i = 30; i < whole.size(); i += 3) {
    auto damaged = whole;
    damaged[i] ^= 0x21;
    put(path, damaged);
    EXPECT_THROW(open_data(folder.path()), Error) << "byte " << i;
  }
}

TEST(Idx, RealMnist) {
  const auto path = shared_data("mnist");
  if (path.empty()) GTEST_SKIP() << "no shared/data/mnist";
  const DataSplits splits = open_data(path);
  EXPECT_EQ(splits.train->size() + splits.validation->size(), 60000);
  EXPECT_EQ(splits.test->size(), 10000);
  EXPECT_EQ(splits.test->label(0), 7);  // the well-known first test digits: 7 2 1 0 4
  EXPECT_EQ(splits.test->label(4), 4);
  EXPECT_EQ(splits.classes.size(), 10u);
}

TEST(OpenData, RealPhotographs) {
  const auto path = shared_data("flowers.tar");
  if (path.empty()) GTEST_SKIP() << "no shared/data/flowers.tar";
  const TemporaryFolder folder;
  const std::string command = "tar xf '" + path.string() + "' -C '" + folder.path().string() + "'";
  if (std::system(command.c_str()) != 0) GTEST_SKIP() << "tar failed";
  std::filesystem::path root = folder.path();
  while (!std::filesystem::exists(root / "train")) {
    root = std::filesystem::directory_iterator(root)->path();
  }
  const DataSplits splits = open_data(root);
  EXPECT_EQ(splits.classes, (std::vector<std::string>{"daisy", "dandelion", "roses"}));
  EXPECT_EQ(splits.train->size() + splits.validation->size(), 180);
  EXPECT_EQ(splits.test->size(), 60);
  EXPECT_EQ(splits.test->image(0).width, 320);
}

}  // namespace
}  // namespace tapescope
