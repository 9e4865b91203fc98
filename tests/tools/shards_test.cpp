// Data in shards: what lies where in a tar file, samples and their flaws, and shards that are the
// folder again.
#include "tools/data/shards.h"

#include <sys/stat.h>

#include <algorithm>

#include "engine/philox.h"
#include "tests/says.h"
#include "tests/tools/tar_file.h"
#include "tests/tools/temporary_folder.h"
#include "tools/data/shard_writer.h"
#include "tools/data/splits.h"
#include "tools/data/tar_index.h"
#include "tools/report/png.h"

namespace tapescope {
namespace {

namespace fs = std::filesystem;

void picture(const fs::path& path, std::uint64_t key) {
  fs::create_directories(path.parent_path());
  Image image(5, 6, 3);
  PhiloxStream random(key);
  for (std::uint8_t& pixel : image.pixels) pixel = static_cast<std::uint8_t>(random.next_u32());
  write_png(path, image);
}

std::string bytes_of(const fs::path& path) {
  const std::vector<std::uint8_t> bytes = get(path);
  return {bytes.begin(), bytes.end()};
}

std::string all(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

// Every file below `folder` with its bytes.
std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      files[fs::relative(entry.path(), folder).string()] = bytes_of(entry.path());
    }
  }
  return files;
}

class Shards : public ::testing::Test {
 protected:
  void SetUp() override {
    if (tar_library().empty()) GTEST_SKIP() << "this build has no libarchive";
    for (std::uint64_t i = 0; i < 8; ++i) {
      picture(folder_ / "png" / (std::to_string(i) + ".png"), i);
      pngs_.push_back(bytes_of(folder_ / "png" / (std::to_string(i) + ".png")));
    }
  }
  // Samples 0 to `count` with the numbers 0 and 1 in turns.
  std::string good(int count = 4) const {
    std::string tar;
    for (int i = 0; i < count; ++i) {
      tar += tar_entry(fmt::format("{:03}.png", i), pngs_[static_cast<std::size_t>(i)]) +
             tar_entry(fmt::format("{:03}.cls", i), std::to_string(i % 2));
    }
    return tar;
  }
  DataSplits open(const DataOptions& options = {.validation_fraction = 0}) const {
    return open_data(folder_ / "data", options);
  }
  DataSplits open_with(const std::string& tar, BadImage bad = BadImage::fail) const {
    put(folder_ / "data/0.tar", tar);
    return open({.validation_fraction = 0, .on_bad_image = bad});
  }
  // The flaw is refused by its sentence, and left out and told where that is wished; `left` samples
  // are then there.
  void expect_flaw(const std::string& tar, const std::string& sentence, std::int64_t left) const {
    EXPECT_SAYS(usage_message([&] { open_with(tar); }), sentence);
    const DataSplits splits = open_with(tar, BadImage::skip);
    ASSERT_NE(splits.train, nullptr);
    EXPECT_EQ(splits.train->size(), left) << sentence;
    EXPECT_SAYS(all(splits.bad_images), sentence);
    EXPECT_SAYS(all(splits.notices), "the first: ");
  }
  TemporaryFolder folder_;
  std::vector<std::string> pngs_;
};

TEST_F(Shards, MembersLieWhereTheIndexSays) {
  const std::string deep = std::string(90, 'd') + "/" + std::string(140, 'n');
  const std::string tar = tar_entry("a/", "", '5') + tar_entry("a/1.txt", "one") +
                          gnu_entry(deep + ".gnu", std::string(512, 'g')) +
                          tar_entry("link.txt", "", '2') +
                          pax_entry(deep + ".pax", std::string(513, 'p')) +
                          tar_entry("empty.txt", "") + tar_entry("../../up.txt", "up") + tar_end();
  put(folder_ / "x.tar", tar);
  const TarIndex index =
      read_tar(folder_ / "x.tar", [](std::string_view name) { return name == "a/1.txt"; });
  EXPECT_EQ(index.broken, "");
  std::map<std::string, std::string> found;
  for (const TarMember& member : index.members) {
    found[member.name] =
        tar.substr(static_cast<std::size_t>(member.offset), static_cast<std::size_t>(member.bytes));
    EXPECT_EQ(member.text, member.name == "a/1.txt" ? "one" : "");
  }
  const std::map<std::string, std::string> expected = {{"a/1.txt", "one"},
                                                       {deep + ".gnu", std::string(512, 'g')},
                                                       {deep + ".pax", std::string(513, 'p')},
                                                       {"empty.txt", ""},
                                                       {"../../up.txt", "up"}};
  EXPECT_EQ(found, expected);
}

TEST_F(Shards, CutOffAnywhereIsSeen) {
  const std::string tar = good() + tar_end();
  const auto cut = [&](std::size_t length) {
    put(folder_ / "cut.tar", tar.substr(0, length));
    return read_tar(folder_ / "cut.tar", [](std::string_view) { return false; });
  };
  const std::size_t end = tar.size() - 1024;
  for (std::size_t length = 0; length < end + 512; length += length % 512 == 0 ? 1 : 511) {
    const TarIndex index = cut(length);
    EXPECT_NE(index.broken, "") << length;
    for (const TarMember& member : index.members) {
      EXPECT_LE(static_cast<std::size_t>(member.offset + member.bytes), length);
    }
  }
  EXPECT_EQ(cut(end + 512).broken, "");
  EXPECT_EQ(cut(tar.size()).members.size(), 8u);
  // On the edge of a sample nothing but the end is missing.
  expect_flaw(good(), "0.tar: is cut off behind '003.cls'", 4);
  expect_flaw(good().substr(0, good().size() - 1025), "cut off", 3);
}

TEST_F(Shards, BytesThatAreNoTarAreRefused) {
  EXPECT_SAYS(usage_message([&] { open_with("no tar file, and longer than nothing"); }), "0.tar: ");
  EXPECT_SAYS(usage_message([&] { open_with(""); }), "0.tar: ");
  std::string tar = good() + tar_end();
  tar[512 + tar.find("001.png") / 512 * 512 - 512 + 3] ^= 1;  // a checksum does not fit
  EXPECT_SAYS(usage_message([&] { open_with(tar); }), "0.tar: is damaged, cut off or no tar");
}

TEST_F(Shards, LabelsAreNumbersOrNames) {
  const auto labels = [](const DataSplits& splits) {
    std::string text;
    for (std::int64_t i = 0; i < splits.train->size(); ++i) {
      text += splits.classes[static_cast<std::size_t>(splits.train->label(i))] + " ";
    }
    return text;
  };
  const auto samples = [&](const std::vector<std::pair<std::string, std::string>>& members) {
    std::string tar;
    for (std::size_t i = 0; i < members.size(); ++i) {
      tar += tar_entry(fmt::format("s/{}.PNG", i), pngs_[i]) +
             tar_entry(fmt::format("s/{}.{}", i, members[i].first), members[i].second);
    }
    return tar + tar_end();
  };
  // Numbers are sorted as such, and 07 is 7.
  DataSplits splits = open_with(samples({{"cls", "10"}, {"cls", "9\n"}, {"CLS", "07"}}));
  EXPECT_EQ(splits.classes, (std::vector<std::string>{"7", "9", "10"}));
  EXPECT_EQ(labels(splits), "10 9 7 ");
  EXPECT_EQ(splits.kind, "shards");
  splits = open_with(samples({{"cls", "dog"}, {"class", " cat "}, {"json", R"({"label":"dog"})"}}));
  EXPECT_EQ(labels(splits), "dog cat dog ");
  EXPECT_EQ(splits.classes, (std::vector<std::string>{"cat", "dog"}));
  splits = open_with(samples({{"json", R"({"url":"u","label":3})"}, {"json", R"({"cls":0})"}}));
  EXPECT_EQ(labels(splits), "3 0 ");
  put(folder_ / "data/classes.txt", "zebra\nant\n\xc3\xb6\n");
  splits = open_with(samples({{"cls", "2"}, {"cls", "zebra"}, {"json", R"({"class":1})"}}));
  EXPECT_EQ(labels(splits), "\xc3\xb6 zebra ant ");
  EXPECT_EQ(splits.classes, (std::vector<std::string>{"zebra", "ant", "\xc3\xb6"}));
  put(folder_ / "data/classnames.txt", "a\nb\nc\n");  // before classes.txt
  EXPECT_EQ(labels(open_with(samples({{"cls", "2"}, {"cls", "0"}}))), "c a ");
  put(folder_ / "data/classnames.txt", "a\nb\na\n");
  EXPECT_SAYS(usage_message([&] { open_with(samples({{"cls", "2"}})); }), "names 'a' again");
}

TEST_F(Shards, FlawsAreNamedAndCounted) {
  const std::string more = tar_entry("x.png", pngs_[5]);
  expect_flaw(good() + more + tar_end(), "0.tar/x.png: has no label", 4);
  expect_flaw(good() + tar_entry("x.cls", "1") + tar_end(),
              "0.tar/x.cls: is a label without a picture", 4);
  expect_flaw(good() + tar_entry("x.json", R"({"label":1})") + tar_end(),
              "0.tar/x.json: is a label without a picture", 4);
  expect_flaw(good() + more + tar_entry("x.cls", "  ") + tar_end(), "has an empty label", 4);
  expect_flaw(good() + more + tar_entry("x.json", "{\"label\":[1]}") + tar_end(),
              "neither a number from 0 on nor a name", 4);
  expect_flaw(good() + more + tar_entry("x.json", std::string(100'000, '[')) + tar_end(),
              "has a .json that is no JSON object", 4);
  expect_flaw(good() + tar_entry("x.jpg", pngs_[4]) + more + tar_entry("x.cls", "1") + tar_end(),
              "has both 'x.jpg' and 'x.png'", 4);
  expect_flaw(good() + tar_entry("000.png", pngs_[5]) + tar_entry("000.cls", "1") + tar_end(),
              "is a second sample of the key '000'", 4);
  expect_flaw(good() + tar_entry("x.png", "no picture") + tar_entry("x.cls", "1") + tar_end(),
              "0.tar/x.png: is not a picture", 4);
  put(folder_ / "data/classnames.txt", "a\nb\n");
  expect_flaw(good() + more + tar_entry("x.cls", "2") + tar_end(),
              "is of class number 2, and classnames.txt names 2, 0 to 1", 4);
  expect_flaw(good() + more + tar_entry("x.cls", "cow") + tar_end(),
              "is of the class 'cow', which classnames.txt does not name", 4);
}

TEST_F(Shards, OtherMembersArePassedOverAndNamesLeadNowhere) {
  put(folder_ / "secret.png", pngs_[7]);
  const auto before = files_of(folder_.path());
  const DataSplits splits =
      open_with(good() + tar_entry("000.seg.png", pngs_[4]) + tar_entry(".hidden.png", "x") +
                tar_entry("__meta__.json", "{}") + tar_entry("note.json", R"({"size":1})") +
                tar_entry("README", "r") + tar_entry("../../secret.png", pngs_[6]) +
                tar_entry("../../secret.cls", "1") + tar_end());
  EXPECT_EQ(splits.train->size(), 5);
  EXPECT_SAYS(all(splits.notices), "5 members of no sample are passed over");
  EXPECT_EQ(splits.train->content(4).hash,
            content_hash(get(folder_ / "png/6.png"), std::ssize(pngs_[6])));
  auto after = files_of(folder_.path());
  after.erase("data/0.tar");
  EXPECT_EQ(after, before);
}

TEST_F(Shards, AShardThatIsWrittenAnewIsNotReadFurther) {
  const DataSplits splits = open_with(good() + tar_end());
  const DataOptions again{.validation_fraction = 0, .cache_bytes = 0};
  const DataSplits uncached = open(again);
  EXPECT_EQ(uncached.train->image(1).height, 5);
  put(folder_ / "data/0.tar", good(2) + tar_end());
  EXPECT_SAYS(usage_message([&] { uncached.train->image(0); }), "was written anew");
}

TEST_F(Shards, WhatIsAFolderOfShards) {
  const std::string tar = good() + tar_end();
  const auto parts = [&](const std::string& where) {
    std::string text;
    const auto found = find_shards(folder_ / where);
    if (!found) return std::string("none");
    for (const auto& [part, tars] : found->parts) {
      text += fmt::format("{} {} ", name_of(part), tars.size());
    }
    return text;
  };
  put(folder_ / "flat/a-000.tar", tar);
  put(folder_ / "flat/a-001.tar", tar);
  put(folder_ / "flat/_notes/info.txt", "x");
  EXPECT_EQ(parts("flat"), "train 2 ");
  EXPECT_EQ(parts("flat/a-001.tar"), "train 1 ");
  EXPECT_EQ(parts("flat/a-{000..001}.tar"), "train 2 ");
  EXPECT_EQ(parts("flat/a-{0..0}{00..01}.tar"), "train 2 ");
  EXPECT_SAYS(usage_message([&] { parts("flat/a-{000..002}.tar"); }), "a-002.tar: no such file");
  EXPECT_SAYS(usage_message([&] { parts("flat/a-{2..1}.tar"); }), "is no pattern of shards");
  put(folder_ / "named/my-train-0.tar", tar);
  put(folder_ / "named/my-val-0.tar", tar);
  EXPECT_EQ(parts("named"), "train 1 validation 1 ");
  put(folder_ / "named/other.tar", tar);
  EXPECT_SAYS(usage_message([&] { parts("named"); }), "'other.tar' tells none");
  put(folder_ / "split/train/0.tar", tar);
  put(folder_ / "split/test/0.tar", tar);
  EXPECT_EQ(parts("split"), "train 1 test 1 ");
  // An archive beside what was unpacked from it.
  fs::create_directories(folder_ / "unpacked/cat");
  put(folder_ / "unpacked/photos.tar", tar);
  put(folder_ / "unpacked/cat/1.png", pngs_[0]);
  EXPECT_EQ(parts("unpacked"), "none");
  put(folder_ / "both/train.tar", tar);
  put(folder_ / "both/train/cat/1.png", pngs_[0]);
  EXPECT_EQ(parts("both"), "none");
}

// ---- writing

class ShardWriter : public Shards {
 protected:
  void SetUp() override {
    Shards::SetUp();
    std::uint64_t key = 100;
    for (const char* split : {"train", "val", "test"}) {
      for (const char* label : {"ant", "v1.2", "zebra"}) {
        for (int i = 0; i < 4; ++i) {
          picture(folder_ / "photos" / split / label / fmt::format("p{}.png", i), ++key);
        }
      }
    }
    const fs::path odd = folder_ / "photos/train/ant";
    picture(odd / "a.b.png", 1);
    picture(odd / "a_b.PNG", 2);
    picture(odd / "sub/a.png", 3);
    picture(odd / ("long" + std::string(200, 'x') + "1.png"), 4);
    picture(odd / ("long" + std::string(200, 'x') + "2.png"), 5);
    picture(odd / "\xd0\xba\xd0\xbe\xd1\x82.png", 6);
    picture(odd / "bad\xff\n.png", 7);
    picture(odd / "__x__.png", 8);
  }
  ShardedData write(const std::string& out, std::int64_t bytes = 4096) const {
    return write_shards({folder_ / "photos", folder_ / out, bytes});
  }
};

TEST_F(ShardWriter, ShardsAreTheFolderAgain) {
  const ShardedData written = write("out");
  ASSERT_EQ(written.parts.size(), 3u);
  EXPECT_EQ(written.parts[0].pictures, 20);
  EXPECT_GT(written.parts[0].shards, 3) << "so that samples cross shards";
  for (const DataOptions& options :
       {DataOptions{}, DataOptions{.limit = 9, .seed = 4}, DataOptions{.draw = Draw::stratified},
        DataOptions{.bytes_to_check = 0},
        DataOptions{.on_bad_image = BadImage::skip, .channels = 1}}) {
    const DataSplits folder = open_data(folder_ / "photos", options);
    const DataSplits shards = open_data(folder_ / "out", options);
    EXPECT_EQ(shards.classes, folder.classes);
    EXPECT_EQ(shards.heads, folder.heads);
    for (const auto part :
         {&DataSplits::train, &DataSplits::validation, &DataSplits::test, &DataSplits::unused}) {
      const auto &a = folder.*part, &b = shards.*part;
      ASSERT_EQ(a == nullptr, b == nullptr);
      if (a == nullptr) continue;
      ASSERT_EQ(a->size(), b->size());
      for (std::int64_t i = 0; i < a->size(); ++i) {
        EXPECT_EQ(a->label(i), b->label(i));
        EXPECT_EQ(a->content(i).hash, b->content(i).hash);
        EXPECT_EQ(a->content(i).bytes, b->content(i).bytes);
        EXPECT_EQ(a->image_size(i).width, b->image_size(i).width);
        EXPECT_EQ(copy_of(a->image(i)).pixels, copy_of(b->image(i)).pixels) << b->name(i);
      }
    }
  }
}

TEST_F(ShardWriter, BytesAreTheSameAndShardsNoLargerThanAsked) {
  write("out");
  write("again/");
  EXPECT_EQ(files_of(folder_ / "out"), files_of(folder_ / "again"));
  for (const auto& [name, bytes] : files_of(folder_ / "out")) {
    EXPECT_LE(bytes.size(), 4096u) << name;
    EXPECT_FALSE(name.starts_with('.')) << name;
    if (!name.ends_with(".tar")) continue;
    EXPECT_EQ(bytes.substr(108, 8) + bytes.substr(116, 8), std::string("0000000\0000000000\0", 16));
    EXPECT_EQ(bytes.substr(136, 12), std::string("00000000000\0", 12)) << "a time";
  }
  EXPECT_EQ(bytes_of(folder_ / "out/classnames.txt"), "ant\nv1.2\nzebra\n");
  EXPECT_FALSE(fs::exists(folder_ / ".out.partial"));
  // A picture larger than a shard has one of its own.
  EXPECT_EQ(write("small", 1).parts[0].shards, 20);
}

TEST_F(ShardWriter, NothingIsThereUnlessAllIs) {
  fs::create_symlink(folder_ / "nowhere", folder_ / "photos/val/zebra/gone.png");
  EXPECT_SAYS(usage_message([&] { write("out"); }), "gone.png: cannot be read");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  EXPECT_FALSE(fs::exists(folder_ / ".out.partial"));
  fs::remove(folder_ / "photos/val/zebra/gone.png");
  // What a kill left is cleared away.
  put(folder_ / ".out.partial/train/000099.tar", "left");
  fs::create_directories(folder_ / "out");
  write("out");
  EXPECT_FALSE(fs::exists(folder_ / "out/train/000099.tar"));
  EXPECT_TRUE(fs::exists(folder_ / "out/train/000000.tar"));
  EXPECT_SAYS(usage_message([&] { write("out"); }), "is there and not empty");
  EXPECT_SAYS(usage_message([&] {
                write_shards({folder_ / "out", folder_ / "more"});
              }),
              "holds shards already");
  EXPECT_SAYS(usage_message([&] {
                write_shards({folder_ / "none", folder_ / "more"});
              }),
              "no such folder");
}

TEST_F(ShardWriter, AFolderWithoutSplitsIsDrawnAlike) {
  ASSERT_EQ(write_shards({folder_ / "photos/train", folder_ / "flat"}).parts[0].folder, "");
  const DataOptions options{.test_fraction = 0.3, .seed = 2};
  const SplitRecord a = record_of(open_data(folder_ / "photos/train", options));
  const SplitRecord b = record_of(open_data(folder_ / "flat", options));
  ASSERT_EQ(a.pictures.size(), b.pictures.size());
  for (std::size_t i = 0; i < a.pictures.size(); ++i) {
    EXPECT_EQ(a.pictures[i].part, b.pictures[i].part);
    EXPECT_EQ(a.pictures[i].content.hash, b.pictures[i].content.hash);
  }
  // A run that was trained on the folder knows its pictures in the shards.
  DataOptions known = options;
  known.record = std::make_shared<SplitRecord>(a);
  known.resume = true;
  EXPECT_TRUE(open_data(folder_ / "flat", known).changes.empty());
}

}  // namespace
}  // namespace tapescope
