#include "tools/data/split_record.h"

#include <algorithm>
#include <set>

#include "engine/hash.h"
#include "tests/tools/temporary_folder.h"

namespace tapescope {
namespace {

std::vector<std::uint64_t> many_hashes(std::size_t count, std::uint64_t from = 0) {
  std::vector<std::uint64_t> hashes;
  for (std::size_t i = 0; i < count; ++i) hashes.push_back(mix(from + i, 7));
  return hashes;
}

std::set<std::uint64_t> chosen(const std::vector<std::uint64_t>& hashes,
                               const std::vector<bool>& flags) {
  std::set<std::uint64_t> out;
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    if (flags[i]) out.insert(hashes[i]);
  }
  return out;
}

TEST(SplitDraw, TakesAboutTheShareAndDependsOnSeedAndPurpose) {
  const std::vector<std::uint64_t> hashes = many_hashes(10000);
  const std::vector<std::int64_t> labels(hashes.size(), 0);
  const auto count = [&](double fraction) {
    const auto flags = drawn_by_content(hashes, labels, fraction, 1, "test");
    return std::count(flags.begin(), flags.end(), true);
  };
  // Five standard deviations of a binomial distribution.
  EXPECT_NEAR(count(0.1), 1000, 5 * 30);
  EXPECT_NEAR(count(0.5), 5000, 5 * 50);
  const auto base = drawn_by_content(hashes, labels, 0.5, 1, "test");
  for (const auto& other : {drawn_by_content(hashes, labels, 0.5, 2, "test"),
                            drawn_by_content(hashes, labels, 0.5, 1, "validation")}) {
    std::int64_t same = 0;
    for (std::size_t i = 0; i < base.size(); ++i) same += base[i] == other[i] ? 1 : 0;
    EXPECT_NEAR(same, 5000, 5 * 50) << "independent draws agree in half of the cases";
  }
}

TEST(SplitDraw, OthersArrivalAndDepartureMoveNothing) {
  std::vector<std::uint64_t> hashes = many_hashes(400);
  std::vector<std::int64_t> labels;
  for (std::size_t i = 0; i < hashes.size(); ++i)
    labels.push_back(static_cast<std::int64_t>(i % 4));
  const auto before = chosen(hashes, drawn_by_content(hashes, labels, 0.25, 3, "test"));
  // Any order, half of them gone, 100 new ones.
  std::vector<std::uint64_t> now(hashes.rbegin(), hashes.rend() - 200);
  std::vector<std::int64_t> labels_now(labels.rbegin(), labels.rend() - 200);
  for (const std::uint64_t hash : many_hashes(100, 5000)) {
    now.push_back(hash);
    labels_now.push_back(static_cast<std::int64_t>(hash % 4));
  }
  const auto after = chosen(now, drawn_by_content(now, labels_now, 0.25, 3, "test"));
  for (std::size_t i = 200; i < 400; ++i) {
    EXPECT_EQ(before.contains(hashes[i]), after.contains(hashes[i])) << i;
  }
}

TEST(SplitDraw, SmallClassesHaveOneOnBothSides) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    // Classes of 1, 2, 3 and of two equal pictures.
    const std::vector<std::uint64_t> hashes = {1, 2, 3, 4, 5, 6, 9, 9};
    const std::vector<std::int64_t> labels = {0, 1, 1, 2, 2, 2, 3, 3};
    for (const double fraction : {0.001, 0.999}) {
      const auto flags = drawn_by_content(hashes, labels, fraction, seed, "test");
      EXPECT_FALSE(flags[0]) << "one alone is trained on";
      EXPECT_NE(flags[1], flags[2]);
      EXPECT_EQ(std::count(flags.begin() + 3, flags.begin() + 6, true), fraction < 0.5 ? 1 : 2);
      EXPECT_FALSE(flags[6] || flags[7]) << "one picture, twice, cannot be on both sides";
    }
  }
}

TEST(SplitDraw, AnExactShareOfEveryClass) {
  const std::vector<std::uint64_t> hashes = many_hashes(110);
  std::vector<std::int64_t> labels(110, 0);
  std::fill(labels.begin() + 90, labels.end(), 1);
  const auto flags = share_by_content(hashes, labels, 0.2, 0, "limit");
  EXPECT_EQ(std::count(flags.begin(), flags.begin() + 90, true), 18);
  EXPECT_EQ(std::count(flags.begin() + 90, flags.end(), true), 4);
}

RecordedPicture recorded(Part part, const std::string& label, std::uint64_t hash,
                         const std::string& name) {
  return {part, label, {hash, 10, 5}, name};
}

TEST(SplitRecord, IsTextThatComesBack) {
  const TemporaryFolder folder;
  SplitRecord record;
  record.pictures = {recorded(Part::train, "a\tb", 0xabc, "x\\y\n.png"),
                     recorded(Part::validation, "caf\xe9", ~0ull, "caf\xe9/1.png"),
                     recorded(Part::test, "", 0, ""), recorded(Part::unused, "c", 1, "c/1.png")};
  for (const bool heads : {false, true}) {
    record.heads = heads;
    put(folder / "split.tsv", record.text());
    const SplitRecord back = SplitRecord::read(folder / "split.tsv");
    EXPECT_EQ(back.text(), record.text());
    EXPECT_EQ(back.heads, heads);
    ASSERT_EQ(back.pictures.size(), 4u);
    EXPECT_EQ(back.pictures[0].label, "a\tb");
    EXPECT_EQ(back.pictures[0].name, "x\\y\n.png");
    EXPECT_EQ(back.pictures[1].content.hash, ~0ull);
    EXPECT_EQ(back.pictures[1].part, Part::validation);
  }
  const std::string text = record.text();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4) << "a line a picture";
  for (const char* damaged :
       {"train\ta\t1\tff\tx.png", "tarin\ta\t1\tff\tx.png\t0\n", "train\ta\t1\tfg\tx.png\t0\n",
        "train\ta\t1x\tff\tx.png\t0\n", "train\ta\t1\tff\tx.png\t0\nhalf a line", "\n",
        "train\ta\t1\tff\tx.png\t0\ntrain\ta\t1\thead:ff\ty.png\t0\n"}) {
    put(folder / "split.tsv", std::string(damaged));
    EXPECT_NE(usage_message([&] { SplitRecord::read(folder / "split.tsv"); }).find("split.tsv"),
              std::string::npos)
        << damaged;
  }
}

TEST(SplitRecord, ComparesByContent) {
  SplitRecord record;
  record.pictures = {
      recorded(Part::train, "a", 1, "a/1.png"), recorded(Part::train, "b", 2, "b/2.png"),
      recorded(Part::test, "a", 3, "a/3.png"),  recorded(Part::train, "a", 4, "a/4.png"),
      recorded(Part::train, "a", 7, "a/7.png"), recorded(Part::train, "b", 7, "b/7.png")};
  const auto found = [&](std::uint64_t hash, const char* label, const char* name,
                         unsigned parts = 7) {
    return FoundPicture{label, {hash, 10, 0}, name, parts};
  };
  // Renamed, in another order, under another root: nothing changed.
  const std::vector<FoundPicture> renamed = {found(7, "b", "q"), found(3, "a", "p"),
                                             found(1, "a", "z"), found(2, "b", "y"),
                                             found(4, "a", "x"), found(7, "a", "w")};
  const SplitComparison same = compare(record, renamed);
  EXPECT_EQ(same.lines, (std::vector<std::int64_t>{5, 2, 0, 1, 3, 4}));
  EXPECT_TRUE(same.changes.empty());
  EXPECT_TRUE(same.gone.empty());

  const std::vector<FoundPicture> changed = {
      found(1, "b", "a/1.png"),         // of another class
      found(20, "b", "b/2.png"),        // edited
      found(3, "a", "train/3.png", 1),  // in train's folder now
      found(7, "a", "a/7.png"),        found(7, "b", "b/7.png"),
      found(7, "b", "b/8.png"),  // a third copy
      found(9, "a", "a/9.png")};
  const SplitComparison now = compare(record, changed);
  EXPECT_EQ(now.lines, (std::vector<std::int64_t>{0, SplitComparison::kNew, 2, 4, 5,
                                                  SplitComparison::kCopy, SplitComparison::kNew}));
  EXPECT_EQ(now.gone, (std::vector<std::int64_t>{1, 3}));
  EXPECT_EQ(
      now.changes,
      (std::vector<std::string>{
          "1 picture added (a/9.png)", "1 picture removed (a/4.png)", "1 picture edited (b/2.png)",
          "1 picture labelled otherwise (a/1.png: b, was a)", "1 picture copied (b/8.png)",
          "1 picture in another split's folder (train/3.png, was test)"}));
}

TEST(SplitRecord, ContentIsHashedWithItsSize) {
  const std::vector<std::uint8_t> bytes = {1, 2, 3};
  const std::uint64_t hash = content_hash(bytes, 3);
  EXPECT_EQ(hash, content_hash(bytes, 3));
  EXPECT_NE(hash, content_hash(bytes, 4));
  EXPECT_NE(hash, content_hash(std::vector<std::uint8_t>{1, 2, 4}, 3));
}

}  // namespace
}  // namespace tapescope
