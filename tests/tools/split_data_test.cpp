// Opening data again: recorded splits, layouts as people have them, pictures in two splits.
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>

#include "engine/philox.h"
#include "tests/says.h"
#include "tests/tools/temporary_folder.h"
#include "tools/data/dataset.h"
#include "tools/data/splits.h"
#include "tools/files/text.h"
#include "tools/report/png.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

// No two alike, whatever the folder.
void picture(const fs::path& path, std::uint64_t key, int height = 5, int width = 6) {
  fs::create_directories(path.parent_path());
  Image image(height, width, 3);
  PhiloxStream random(key);
  for (std::uint8_t& pixel : image.pixels) pixel = static_cast<std::uint8_t>(random.next_u32());
  write_png(path, image);
}

void pictures(const fs::path& folder, int count, std::uint64_t key) {
  for (int i = 0; i < count; ++i) {
    picture(folder / fmt::format("{}.png", 100 + i), key + static_cast<std::uint64_t>(i));
  }
}

// content -> split
std::map<std::uint64_t, std::string> parts(const DataSplits& splits) {
  std::map<std::uint64_t, std::string> result;
  for (const RecordedPicture& p : record_of(splits).pictures) {
    EXPECT_TRUE(result.emplace(p.content.hash, name_of(p.part)).second) << p.name;
  }
  return result;
}

std::int64_t size_of(const std::shared_ptr<const Dataset>& data) {
  return data == nullptr ? 0 : data->size();
}

std::string all(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

class SplitData : public ::testing::Test {
 protected:
  void SetUp() override {
    pictures(folder_ / "flat/a", 40, 1000);
    pictures(folder_ / "flat/b", 40, 2000);
  }
  DataOptions options() const {
    return {.validation_fraction = 0.2, .test_fraction = 0.25, .seed = 5};
  }
  DataOptions again(const DataSplits& first, bool resume = false) const {
    DataOptions o = options();
    o.record = std::make_shared<SplitRecord>(record_of(first));
    o.resume = resume;
    return o;
  }
  TemporaryFolder folder_;
};

TEST_F(SplitData, ArrivalAndDepartureMoveNoPicture) {
  const auto before = parts(open_data(folder_ / "flat", options()));
  picture(folder_ / "flat/a/-new.png", 7);
  picture(folder_ / "flat/b/-new.png", 8);
  fs::remove(folder_ / "flat/a/103.png");
  fs::rename(folder_ / "flat/b/104.png", folder_ / "flat/b/zzz.png");
  const auto after = parts(open_data(folder_ / "flat", options()));
  EXPECT_EQ(after.size(), 81u);
  int compared = 0;
  for (const auto& [hash, part] : after) {
    if (!before.contains(hash)) continue;
    EXPECT_EQ(part, before.at(hash));
    ++compared;
  }
  EXPECT_EQ(compared, 79);
}

TEST_F(SplitData, RecordedPicturesStayAndNewOnesJoinTestOnly) {
  const DataSplits first = open_data(folder_ / "flat", options());
  const auto before = parts(first);
  // Another root, other names, and half of the pictures in a folder of test.
  fs::rename(folder_ / "flat", folder_ / "moved");
  fs::create_directories(folder_ / "moved/train");
  fs::create_directories(folder_ / "moved/test");
  for (const char* name : {"a", "b"}) {
    fs::create_directories(folder_ / "moved/test" / name);
    int i = 0;
    for (const auto& entry : fs::directory_iterator(folder_ / "moved" / name)) {
      if (++i % 2 == 0) continue;
      fs::rename(entry.path(), folder_ / "moved/test" / name / fmt::format("r{}.png", i));
    }
    fs::rename(folder_ / "moved" / name, folder_ / "moved/train" / name);
  }
  pictures(folder_ / "moved/test/a", 3, 9000);
  pictures(folder_ / "moved/train/b", 0, 0);
  picture(folder_ / "moved/train/b/x1.png", 9100);
  picture(folder_ / "moved/train/b/x2.png", 9101);
  DataOptions o = again(first);
  o.test_fraction = 0;  // whatever is in train's folder stays out of test
  const DataSplits now = open_data(folder_ / "moved", o);
  std::map<std::string, int> fresh;
  for (const auto& [hash, part] : parts(now)) {
    if (before.contains(hash)) {
      EXPECT_EQ(part, before.at(hash));
    } else {
      ++fresh[part];
    }
  }
  EXPECT_EQ(fresh, (std::map<std::string, int>{{"test", 3}, {"unused", 2}}));
  EXPECT_SAYS(all(now.notices), "3 pictures new to the run: in test");
  EXPECT_SAYS(all(now.notices), "2 pictures new to the run: in no split");
  EXPECT_SAYS(all(now.notices), "of the folder of test, used in training: left out of test");
  // The order is the record's: what depends on positions stays as it was.
  for (std::int64_t i = 0; i < first.train->size(); ++i) {
    EXPECT_EQ(now.train->content(i).hash, first.train->content(i).hash);
  }
}

TEST_F(SplitData, ResumingTellsChangesAndRecordsThem) {
  const DataSplits first = open_data(folder_ / "flat", options());
  fs::rename(folder_ / "flat/a/100.png", folder_ / "flat/a/renamed.png");
  EXPECT_TRUE(open_data(folder_ / "flat", again(first, true)).changes.empty());

  fs::rename(folder_ / "flat/a/101.png", folder_ / "flat/b/x101.png");  // labels exchanged
  fs::rename(folder_ / "flat/b/101.png", folder_ / "flat/a/x101.png");
  fs::remove(folder_ / "flat/a/102.png");
  picture(folder_ / "flat/a/103.png", 77);  // edited
  picture(folder_ / "flat/a/new.png", 78);
  fs::copy(folder_ / "flat/a/104.png", folder_ / "flat/a/copy.png");
  const DataSplits now = open_data(folder_ / "flat", again(first, true));
  const std::string told = all(now.changes);
  EXPECT_SAYS(told, "1 picture added (a/new.png)");
  EXPECT_SAYS(told, "1 picture removed (a/102.png)");
  EXPECT_SAYS(told, "1 picture edited (a/103.png)");
  EXPECT_SAYS(told, "2 pictures labelled otherwise (the first: a/x101.png: a, was b)");
  EXPECT_SAYS(told, "1 picture copied (a/copy.png)");
  // What is gone stays recorded: it was trained on, and must not come back as a test picture.
  const SplitRecord record = record_of(now);
  const auto line = [&](const std::string& name) {
    return std::find_if(record.pictures.begin(), record.pictures.end(),
                        [&](const RecordedPicture& p) { return p.name == name; });
  };
  ASSERT_NE(line("a/102.png"), record.pictures.end());
  EXPECT_NE(line("a/new.png"), record.pictures.end());
  EXPECT_EQ(record.pictures.size(), 80u + 3u) << "new, edited, copy";
}

TEST_F(SplitData, ARecordOfOtherPicturesIsIgnored) {
  const DataSplits first = open_data(folder_ / "flat", options());
  pictures(folder_ / "other/test/a", 3, 100);
  pictures(folder_ / "other/train/b", 4, 200);
  pictures(folder_ / "other/train/a", 4, 300);
  const DataSplits other = open_data(folder_ / "other", again(first));
  EXPECT_EQ(size_of(other.test), 3);
  EXPECT_EQ(size_of(other.train) + size_of(other.validation), 8);
}

TEST_F(SplitData, OldRunsAreSplitAsBefore) {
  DataOptions o = options();
  o.draw = Draw::stratified;
  const DataSplits splits = open_data(folder_ / "flat", o);
  // The draw of before, of positions in order.
  std::vector<std::int64_t> labels(40, 0);
  labels.resize(80, 1);
  const StratifiedSplit test = stratified_split(labels, 0.25, 5, "test");
  ASSERT_EQ(size_of(splits.test), static_cast<std::int64_t>(test.chosen.size()));
  for (std::size_t i = 0; i < test.chosen.size(); ++i) {
    const std::int64_t k = test.chosen[i];
    EXPECT_SAYS(splits.test->name(static_cast<std::int64_t>(i)),
                fmt::format("{}/{}.png", k < 40 ? "a" : "b", 100 + k % 40));
  }
}

TEST_F(SplitData, WhatIsInTwoSplitsIsLeftOutOfTheLater) {
  fs::create_directories(folder_ / "d");
  fs::rename(folder_ / "flat", folder_ / "d/train");
  pictures(folder_ / "d/test/a", 5, 1);
  pictures(folder_ / "d/test/b", 5, 11);
  fs::copy(folder_ / "d/test/a/100.png", folder_ / "d/train/a/leak.png");
  const DataSplits splits = open_data(folder_ / "d", {.validation_fraction = 0});
  EXPECT_EQ(size_of(splits.train), 81);
  EXPECT_EQ(size_of(splits.test), 9);
  EXPECT_SAYS(
      all(splits.notices),
      "1 picture of test, in train or validation as well: left out of test (test/a/100.png)");
  fs::copy(folder_ / "d/train/a/105.png", folder_ / "d/train/b/other.png");
  EXPECT_SAYS(all(open_data(folder_ / "d").notices), "1 picture of train, labelled in two ways");
}

TEST_F(SplitData, ManyPicturesAreKnownByTheirHeads) {
  DataOptions o = options();
  o.bytes_to_check = 1000;
  const DataSplits first = open_data(folder_ / "flat", o);
  EXPECT_TRUE(first.heads);
  EXPECT_SAYS(all(first.notices), "are not checked beforehand");
  o.record = std::make_shared<SplitRecord>(record_of(first));
  o.bytes_to_check = 1 << 30;  // fewer now: the record's kind of hash goes on
  EXPECT_EQ(parts(open_data(folder_ / "flat", o)), parts(first));
  fs::rename(folder_ / "flat", folder_ / "elsewhere");
  EXPECT_EQ(parts(open_data(folder_ / "elsewhere", o)), parts(first));
}

TEST_F(SplitData, TheLimitsRestIsRecorded) {
  DataOptions o = options();
  o.limit = 20;
  const DataSplits first = open_data(folder_ / "flat", o);
  EXPECT_NEAR(static_cast<double>(size_of(first.train) + size_of(first.validation)), 20, 1);
  EXPECT_EQ(record_of(first).pictures.size(), 80u);
  EXPECT_EQ(parts(open_data(folder_ / "flat", again(first))), parts(first))
      << "evaluations know no limit";
}

TEST(SplitIdx, MembershipIsByPixels) {
  const TemporaryFolder folder;
  const auto write = [&](const fs::path& root, const std::vector<int>& order) {
    const auto count = static_cast<char>(order.size());
    std::string images{0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 4, 0, 0, 0, 4};
    std::string labels{0, 0, 8, 1, 0, 0, 0, count};
    for (const int i : order) {
      for (int p = 0; p < 16; ++p)
        images += static_cast<char>(mix(static_cast<unsigned>(i), static_cast<unsigned>(p)));
      labels += static_cast<char>(i % 2);
    }
    put(root / "train-images-idx3-ubyte", images);
    put(root / "train-labels-idx1-ubyte", labels);
  };
  std::vector<int> order;
  for (int i = 0; i < 60; ++i) order.push_back(i);
  write(folder / "one", order);
  const DataOptions options{.validation_fraction = 0.2, .test_fraction = 0.3};
  const auto before = parts(open_data(folder / "one", options));
  EXPECT_EQ(before.size(), 60u);
  std::reverse(order.begin(), order.end());
  order.push_back(61);
  write(folder / "two", order);
  for (const auto& [hash, part] : parts(open_data(folder / "two", options))) {
    if (before.contains(hash)) {
      EXPECT_EQ(part, before.at(hash));
    }
  }
}

// ---- layouts

struct Sizes {
  std::int64_t train, validation, test;
  friend bool operator==(const Sizes&, const Sizes&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Sizes& s) {
    return out << s.train << "/" << s.validation << "/" << s.test;
  }
};

Sizes opened(const fs::path& root) {
  const DataSplits splits = open_data(root, {.validation_fraction = 0});
  EXPECT_EQ(splits.classes, (std::vector<std::string>{"a", "b"})) << root;
  return {size_of(splits.train), size_of(splits.validation), size_of(splits.test)};
}

TEST(Layout, SplitsInTheirUsualNames) {
  const TemporaryFolder folder;
  int n = 0;
  for (const auto& [train, val, test] : std::vector<std::array<const char*, 3>>{
           {"train", "val", "test"},
           {"Training", "Validation", "Testing"},
           {"TRAIN", "VALID", "TEST"},
           {"training_set", "dev_set", "test_set"},
           {"train2017", "val2017", "test2017"},
           {"seg_train", "seg_val", "seg_test"},
           {"trainset", "valset", "testset"},
           {"Train Images", "Validation Images", "Test Images"}}) {
    const fs::path root = folder / fmt::format("set{}", n++);
    for (const auto& [split, count] : {std::pair(train, 3), {val, 2}, {test, 1}}) {
      for (const char* name : {"a", "b"}) {
        pictures(root / split / name, count, stable_hash(std::string(split) + name));
      }
    }
    EXPECT_EQ(opened(root), (Sizes{6, 4, 2})) << train;
  }
}

TEST(Layout, NamesThatOnlyLookLikeSplits) {
  const TemporaryFolder folder;
  // A vehicle, and a medical control group: classes hold pictures and no folders.
  pictures(folder / "vehicles/train", 3, 1);
  pictures(folder / "vehicles/car", 3, 11);
  const DataSplits vehicles = open_data(folder / "vehicles", {.validation_fraction = 0});
  EXPECT_EQ(vehicles.classes, (std::vector<std::string>{"car", "train"}));
  EXPECT_EQ(size_of(vehicles.train), 6);
  for (const char* name : {"interval", "contest", "latest", "strain", "test1_train2", "restrain"}) {
    EXPECT_EQ(split_name(name).part, Part::unused) << name;
  }
  // Two of a kind: test1 and test2 are no test split.
  pictures(folder / "numbers/test1/x", 3, 21);
  pictures(folder / "numbers/test2/x", 3, 31);
  EXPECT_EQ(open_data(folder / "numbers", {.validation_fraction = 0}).classes.size(), 2u);
}

TEST(Layout, SaysWhatWasNearlySeen) {
  const TemporaryFolder folder;
  for (const char* name : {"a", "b"}) {
    pictures(folder / "deep/archive/train" / name, 3, stable_hash(name));
    pictures(folder / "third/train" / name, 3, stable_hash(name));
    pictures(folder / "third/test" / name, 3, stable_hash(name) + 50);
    pictures(folder / "third/extra" / name, 1, stable_hash(name) + 90);
    pictures(folder / "twice/train/train" / name, 3, stable_hash(name));
    pictures(folder / "inside" / name / "train", 3, stable_hash(name));
    pictures(folder / "inside" / name / "test", 3, stable_hash(name) + 20);
    pictures(folder / "hollow" / name / "x", 3, stable_hash(name));
    pictures(folder / "unlabelled/train" / name, 3, stable_hash(name));
  }
  put(folder / "third/__MACOSX/x", std::string("x"));
  pictures(folder / "unlabelled/test", 4, 99);
  EXPECT_SAYS(usage_message([&] { open_data(folder / "deep"); }),
              "deep/archive/train exists: name " + (folder / "deep/archive").string());
  const DataSplits third = open_data(folder / "third");
  ASSERT_EQ(third.notices.size(), 1u) << all(third.notices);
  EXPECT_SAYS(third.notices[0], "extra beside test and train is ignored");
  EXPECT_EQ(opened(folder / "twice").train, 6);
  EXPECT_SAYS(usage_message([&] { open_data(folder / "inside"); }),
              "hold the splits (test, train)");
  EXPECT_SAYS(all(open_data(folder / "hollow").notices), "no pictures of their own");
  EXPECT_EQ(opened(folder / "unlabelled"), (Sizes{6, 0, 0}));
  EXPECT_SAYS(all(open_data(folder / "unlabelled").notices),
              "holds 4 pictures and no class folders");
}

TEST(Layout, PipesAndDevicesAreNotOpened) {
  const TemporaryFolder folder;
  pictures(folder / "d/a", 3, 1);
  pictures(folder / "d/b", 3, 11);
  ASSERT_EQ(::mkfifo((folder / "d/a/pipe.jpg").c_str(), 0600), 0);
  fs::create_symlink("/dev/zero", folder / "d/b/zero.png");
  fs::create_symlink(folder / "d/a/100.png", folder / "d/b/link.png");
  const DataSplits splits = open_data(folder / "d", {.validation_fraction = 0});
  EXPECT_EQ(size_of(splits.train), 7);
  EXPECT_SAYS(all(splits.notices), "2 pipes or devices named like pictures are passed over");
  EXPECT_SAYS(all(splits.notices), "1 pictures are links");
  fs::create_symlink(folder / "nowhere.png", folder / "d/b/broken.png");
  EXPECT_SAYS(usage_message([&] { open_data(folder / "d"); }), "broken.png");
}

TEST(Layout, ClassNamesMayBeShown) {
  const TemporaryFolder folder;
  pictures(folder / "d/bl\nue", 3, 1);
  pictures(folder / "d/caf\xe9", 3, 11);
  EXPECT_EQ(open_data(folder / "d").classes,
            (std::vector<std::string>{printable("bl\nue"), printable("caf\xe9")}));
  EXPECT_NE(printable("caf\xe9"), "caf\xe9");
}

TEST(SharedCases, TrainingAndTesting) {
  const fs::path root = shared_case("files/06_training_testing");
  if (root.empty()) GTEST_SKIP() << "no shared/cases";
  for (const auto& entry : fs::directory_iterator(root)) {
    const Sizes sizes = opened(entry.path());
    EXPECT_EQ(sizes.train, 16) << entry.path();
    EXPECT_EQ(sizes.test, 6) << entry.path();
  }
}

TEST(SharedCases, SplitsDoNotLeak) {
  const fs::path root = shared_case("files/11_split_leak");
  if (root.empty()) GTEST_SKIP() << "no shared/cases";
  const DataOptions options{.validation_fraction = 0.1, .test_fraction = 0.25};
  const auto hashes = [](const std::shared_ptr<const Dataset>& data) {
    std::set<std::uint64_t> out;
    for (std::int64_t i = 0; i < data->size(); ++i) out.insert(data->content(i).hash);
    return out;
  };
  const DataSplits flat = open_data(root / "flat", options);
  const std::set<std::uint64_t> trained = hashes(flat.train);
  for (const char* name : {"flat3", "flat4"}) {
    for (const bool with_record : {true, false}) {
      DataOptions o = options;
      if (with_record) o.record = std::make_shared<SplitRecord>(record_of(flat));
      for (const std::uint64_t hash : hashes(open_data(root / name, o).test)) {
        EXPECT_FALSE(trained.contains(hash)) << name;
      }
    }
  }
}

}  // namespace
}  // namespace tapescope
